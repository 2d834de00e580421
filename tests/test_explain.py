"""A configuration explained: that the printed numbers add up, what they rest on, and what a stranger reads."""

import re
import subprocess
import sys
from typing import Any

import pytest
from reported import header

from pytest_dsbench.hardware import named as gpu_named
from pytest_dsbench.measurement import Measurement, Planned, read_back
from pytest_dsbench.operator import Operator
from pytest_dsbench.operators import find
from pytest_dsbench.report.serving.explain import explain_lines
from pytest_dsbench.report.serving.period import period
from pytest_dsbench.runs import Run
from pytest_dsbench.serving.configuration import Configuration
from pytest_dsbench.serving.estimate import Estimate, estimate
from pytest_dsbench.serving.grounds import grounds, partial, pricing, softmax
from pytest_dsbench.serving.model.architecture import named as model_named
from pytest_dsbench.serving.precision import named as precision_named
from pytest_dsbench.serving.price.assumed import Assumed, defaults
from pytest_dsbench.serving.price.efficiencies import Efficiencies
from pytest_dsbench.serving.price.nic import named as nic_named
from pytest_dsbench.serving.search import axes
from pytest_dsbench.serving.sections import Section, Term
from pytest_dsbench.units import quantity


def given(model: str = "deepseek_v3", gpu: str = "h800", ep: int | None = 144, **others: Any) -> Configuration:
    architecture = model_named(model)
    plain = {"nic": nic_named("cx7"), "precision": precision_named("fp8"), "batch": 88, "context": 4989}
    split = axes.split(architecture, ep, None, defaults())
    return Configuration(**{"model": architecture, "gpu": gpu_named(gpu), "split": split, **plain, **others})


BF16 = precision_named("bf16")
CASES = {
    "dual": given(),
    "naive": given(policy="naive"),
    "network bound": given(batch=256),
    "kernel bound": given(gpu="h20"),
    "two share heads, guessed": given(tp=2, mtp=1, precision=BF16),
    "naive, guessed": given(mtp=2, policy="naive"),
    "one GPU": given(gpu="h200", ep=1),
    "prefill": given(decode=False, batch=2, context=4096, ep=32),
    "dense": given("qwen3_8b", ep=None, nic=None, precision=BF16, batch=64, policy="naive"),
    "dense, two share heads": given("qwen3_8b", ep=None, nic=None, precision=BF16, batch=64, tp=2),
    "no shared expert": given("qwen3_30b_a3b", ep=8, batch=100),
}
FOUND = {name: estimate(one, defaults()) for name, one in CASES.items()}
every = pytest.mark.parametrize("found", FOUND.values(), ids=list(FOUND))


def lines(found: Estimate, assumed: Assumed | None = None) -> list[str]:
    return list(explain_lines(found, assumed or defaults()))


def block(found: Estimate, beginning: str) -> list[str]:
    """The lines from one that begins so to the next empty one."""
    every = lines(found)
    start = next(number for number, line in enumerate(every) if line.startswith(beginning))
    return every[start : [*every, ""].index("", start)]


def percent(text: str) -> float:
    return float(text.removesuffix("%")) / 100


# -- the numbers add up ---------------------------------------------------------------------------------------------------------


def by_hand(section: Section, policy: str) -> float:
    """Seconds of a section from its kernels, by the formulas as they are published."""

    def of(*parts: str) -> float:
        return sum(term.seconds for term in section.terms if term.part in parts)

    micro = 2 if policy == "dual" else 1
    if section.kind == "head":
        return micro * of("head")
    front, back = of("gather", "attention_in"), of("attention_out", "scatter", "router")
    if section.kind == "dense":
        return micro * (front + back + of("mlp"))
    if policy == "naive":
        return front + back + max(of("dispatch"), of("shared")) + of("experts") + of("combine")
    return 2 * (max(of("dispatch"), front + of("shared")) + of("experts") + max(of("combine"), back))


@every
def test_a_step_is_the_sum_of_its_kernels(found: Estimate) -> None:
    policy, model = found.configuration.policy, found.configuration.model
    layers = {"moe": model.moe_layers if model.moe else 0, "dense": model.dense_layers, "head": 1}
    total = 1e-3
    for section in found.sections:
        assert section.count == (found.configuration.mtp if section.guess else layers[section.kind])
        total += section.count * by_hand(section, policy)
    assert found.step == pytest.approx(total, rel=1e-12)


@every
def test_the_printed_windows_add_up_to_the_printed_step(found: Estimate) -> None:
    micro = 2 if found.configuration.policy == "dual" else 1
    total, count, kind = quantity("1 ms", "s"), 0, ""
    for line in lines(found):
        headed = re.match(r"(?:(\d+) x )?(MoE layer|dense layer|head)(?: of a guessed token)?: ", line)
        if headed:
            count, kind = int(headed[1] or 1), headed[2]
        window = re.match(r"  window \d of \d: ([^,]+),", line)
        # Parts of other sections run one after the other.
        alone = re.match(r"(?:    |  )(?=\S)(?!window).*?([\d.]+ [num]?s)  [\d.]+ % of the step", line)
        if window and kind == "MoE layer":
            total += count * micro * quantity(window[1], "s")
        elif alone and kind in ("dense layer", "head"):
            total += count * micro * quantity(alone[1], "s")
    printed = re.search(r"  sum +([\d.]+ \w+) +100.0 %", "\n".join(lines(found)))
    assert printed
    assert total == pytest.approx(quantity(printed[1], "s"), rel=0.012)
    assert total == pytest.approx(found.step, rel=0.012)


@every
def test_the_overview_adds_up(found: Estimate) -> None:
    *rows, last = block(found, "step ")[1:]
    shares = [percent(row.rsplit("  ", 1)[1]) for row in rows]
    assert sum(shares) == pytest.approx(1.0, abs=0.0006 * len(rows))
    assert last.split()[0] == "sum" and last.endswith("100.0 %")
    times = [re.findall(r"[\d.]+ [num]?s", row)[-1] for row in [*rows, last]]
    assert sum(quantity(time, "s") for time in times[:-1]) == pytest.approx(quantity(times[-1], "s"), rel=0.01)
    # What takes most stands first.
    assert shares[:-1] == sorted(shares[:-1], reverse=True)


@every
def test_what_is_exposed_is_the_whole_step(found: Estimate) -> None:
    shares = [percent(one) for line in lines(found) for one in re.findall(r"s  ([\d.]+ %) of the step", line)]
    assert sum(shares) + found.host / found.step == pytest.approx(1.0, abs=0.0006 * len(shares))


@every
def test_kernels_add_up_to_their_part(found: Estimate) -> None:
    """Each part's row holds the sum of the rows below it."""
    part, total, parts = 0.0, 0.0, 0
    for line in [*lines(found), "    end  0 s  0 % of the step"]:
        row = re.match(r"( +)\S.*?  +([\d.]+ [num]?s)  (.*)", line)
        if row and re.search(r"of the step|costs nothing", row[3]) and not row[3].startswith("window"):
            if total:
                assert total == pytest.approx(part, rel=0.01)
                parts += 1
            part, total = quantity(row[2], "s"), 0.0
        kernel = re.match(r" +\S.* (?:memory|compute|rdma|nvlink) +[\d.]+ % +(?:[\d.]+ [num]?s|-) +([\d.]+ [num]?s)  ", line)
        if kernel:
            total += quantity(kernel[1], "s")
    assert parts >= 4


# -- what is written ------------------------------------------------------------------------------------------------------------


@every
def test_it_is_readable(found: Estimate) -> None:
    text = lines(found)
    assert max(map(len, text)) <= 140
    assert all(line == line.rstrip() for line in text)
    for one in found.sections:
        assert all(any(line.strip().startswith(f"{term.name} ") for line in text) for term in one.terms)


@every
def test_hidden_parts_cost_nothing(found: Estimate) -> None:
    other = {"attention_in": "attention in", "attention_out": "attention out", "gather": "gather rows", "scatter": "add up rows"}
    kinds = {"moe": "MoE layer", "dense": "dense layer"}
    for one in found.sections:
        if one.kind == "head":
            continue
        text = block(found, f"{one.count} x {kinds[one.kind]}{' of a guessed token' if one.guess else ''}: ")
        for name in {term.part for term in one.terms}:
            (row,) = (line for line in text if re.match(rf"    {other.get(name, name)}( [AB])?  ", line))
            assert ("costs nothing" in row) == (name not in one.exposed)
            assert ("of the step" in row) == (name in one.exposed)


def test_what_hides_behind_what() -> None:
    dual = "\n".join(lines(FOUND["dual"]))
    assert re.search(r"shared A .* hidden behind the dispatch: costs nothing", dual)
    assert re.search(r"combine A .* hidden behind the kernels: costs nothing", dual)
    assert re.search(r"window 1 of 3: .*\(shared A, attention in B\) beside network .*\(dispatch A\): the network binds", dual)
    assert re.search(r"window 3 of 3: .*\(attention out B, router B\) beside network .*\(combine A\): the kernels bind", dual)
    naive = "\n".join(lines(FOUND["naive"]))
    assert re.search(r"window 3 of 5: .*\(shared\) beside network .*\(dispatch\): the network binds", naive)
    assert re.search(r"window 5 of 5: .*, network alone \(combine\)", naive)
    alone = "\n".join(lines(FOUND["one GPU"]))
    assert "network" not in alone and "link." not in alone and "imbalance.experts" not in alone


def test_a_kernel_by_hand() -> None:
    # 44 rows of 1536 in fp8 with a scale per 128, a weight of 24576 x 1536 with a scale per 128 x 128, 44 rows of 24576 in bf16
    moved = 44 * 1536 + 44 * 12 * 4 + 24576 * 1536 + 192 * 12 * 4 + 44 * 24576 * 2
    flop, bound = 2 * 44 * 24576 * 1536, moved / 3.35e12
    row = next(line for line in lines(FOUND["dual"]) if line.startswith("      q_b_proj  "))
    cells = re.split(r"  +", row.strip())
    assert quantity(cells[1], "B") == pytest.approx(moved, rel=2e-3)
    assert quantity(f"{cells[2]}FLOP/s", "FLOP/s") == pytest.approx(flop, rel=2e-3)
    assert quantity(cells[3], "s") == pytest.approx(bound, rel=6e-3)
    assert cells[4:7] == ["memory", "75.0 %", "1.50 us"]
    assert quantity(cells[7], "s") == pytest.approx(bound / 0.75 + 1.5e-6, rel=3e-3)
    assert cells[8] == "assumed: gemm.memory"
    text = lines(FOUND["dual"])
    assert text[text.index(row) + 1].strip() == "block_scaled_mm[m44-n24576-k1536-out_dtype_bf16]"


def test_products_of_each_head_are_counted() -> None:
    text = "\n".join(lines(FOUND["two share heads, guessed"]))
    assert "64 x matmul[m176-n512-k128]" in text


def test_notes_of_operators_are_shown() -> None:
    found = estimate(given(precision=precision_named("fp8", "fp8")), defaults())
    note = next(term.op.note for one in found.sections for term in one.terms if term.op and term.op.spared)
    assert note and note in " ".join(" ".join(lines(found)).split())


def test_memory_and_whether_it_fits() -> None:
    found = FOUND["dual"]
    text = "\n".join(block(found, "memory of one GPU"))
    assert "usable 72.0 GB, 90.0 % of 80.0 GB: fits" in text
    assert [quantity(one, "B") for one in re.findall(r"(?:weights|cache|activations|sum) +([\d.]+ \w+)", text)] == pytest.approx(
        [found.need.weights, found.need.cache, found.need.activations, found.need.total], rel=6e-3
    )
    over = estimate(given(batch=1024), defaults())
    much = over.need.total - 72e9
    said = re.search(r"does not fit, ([\d.]+ GB) too much", "\n".join(lines(over)))
    assert said and quantity(said[1], "B") == pytest.approx(much, rel=6e-3)
    unknown = estimate(given(gpu="h800").replace(gpu=gpu_named("h800").replace(memory=None)), defaults())
    text = "\n".join(lines(unknown))
    assert "the sheet of h800 has no memory" in text and "memory.usable" not in text


def test_rates() -> None:
    found = FOUND["naive, guessed"]
    text = "\n".join(block(found, "rates"))
    assert "1 + 0.85 + 0.85^2 = 2.57" in text
    user = (1 + 0.85 + 0.85**2) / found.step
    per_user, per_gpu = re.findall(r"([\d.]+) tokens/s", text)
    assert float(per_user) == pytest.approx(user, rel=6e-3) and float(per_gpu) == pytest.approx(88 * user, rel=6e-3)
    prefill = "\n".join(block(FOUND["prefill"], "rates"))
    assert "time to the first token" in prefill and "TPOT" not in prefill
    per_user, per_gpu = re.findall(r"([\d.]+) tokens/s", prefill)
    assert float(per_user) == pytest.approx(4096 / FOUND["prefill"].step, rel=6e-3)


# -- what it rests on -----------------------------------------------------------------------------------------------------------


def measured(op: Operator, efficiency: float) -> Measurement:
    case = Planned(operator=op.name, dims=read_back(op), label="x", where="shapes/mine.toml:7", provider="triton")
    return Measurement(case=case, efficiency=efficiency, status="passed", cold=True)


def run(gpu: str, *found: Measurement) -> Run:
    return Run(path="a.jsonl", header=header(gpu), measurements=found, end=None)


def partly_measured() -> Estimate:
    """One kernel measured, one between two shapes, one on another device."""
    norm, scaled = find("fused_add_rms_norm"), find("block_scaled_mm")
    o_proj = {"n": 7168, "k": 16384, "out_dtype": "bf16"}
    own = [measured(norm(tokens=44, hidden=7168), 0.5)]
    own += [measured(scaled(m=m, **o_proj), efficiency) for m, efficiency in ((32, 0.4), (64, 0.6))]
    other = measured(scaled(m=44, n=36864, k=7168, out_dtype="bf16"), 0.7)
    return estimate(given(gpu="h20"), defaults(), Efficiencies([run("h20", *own), run("h200", other)]))


def test_every_source_is_named() -> None:
    text = lines(partly_measured())

    def below(name: str) -> tuple[str, str]:
        at = next(number for number, line in enumerate(text) if line.strip().startswith(f"{name}  "))
        return text[at], text[at + 1]

    row, said = below("input_layernorm")
    assert row.endswith("  measured") and said.endswith("measured: triton, shapes/mine.toml:7")
    assert " 50.0 % " in row and re.search(r" -  +[\d.]+ us  measured", row)
    row, said = below("o_proj")
    # ln of the efficiency is linear in ln of the rows
    assert row.endswith("  interpolated") and "interpolated: between measured shapes of 2" in said
    row, said = below("mlp.gate_up")
    assert row.endswith("  carried") and "on h200" in said and " 70.0 % " in row


@pytest.mark.parametrize("found", [*FOUND.values(), partly_measured()], ids=[*FOUND, "partly measured"])
def test_all_sources_and_the_host_are_the_whole_step(found: Estimate) -> None:
    shares = [found.share(one) for one in ("measured", "interpolated", "carried", "assumed")]
    assert sum(shares) + found.host / found.step == pytest.approx(1.0, rel=1e-12)
    printed = [percent(re.split(r"  +", line.strip())[1]) for line in block(found, "the step's time by")[1:]]
    assert len(printed) == 5 and printed == pytest.approx([*shares, found.host / found.step], abs=6e-4)
    # No less than 100 % of it is the sum of what each assumption prices, and what needs none.
    priced = sum(one.seconds or 0.0 for one in grounds(found, defaults()))
    assert priced / found.step == pytest.approx(1 - sum(shares[:3]), rel=1e-9)


def test_measurements_have_their_share() -> None:
    found = partly_measured()
    assert all(found.share(one) > 0 for one in ("measured", "interpolated", "carried", "assumed"))


def names(found: Estimate, assumed: Assumed | None = None) -> dict[str, float | None]:
    return {one.name: one.seconds for one in grounds(found, assumed or defaults())}


def test_assumptions_that_were_used_and_no_others() -> None:
    dual = names(FOUND["dual"])
    assert {"time.step", "time.launch", "efficiency.gemm.memory", "efficiency.attention.memory", "link.rdma"} <= dual.keys()
    assert {"link.rdma_latency", "imbalance.experts", "imbalance.context", "memory.usable"} <= dual.keys()
    # Every product of 44 rows is bound by its weights, and nothing is guessed, computed or sent over NVLink.
    assert not {"guess.acceptance", "tile.rows", "exp.per_clock", "pipeline.9.0", "link.nvlink"} & dual.keys()
    assert not any(name.endswith(".compute") for name in dual)
    prefill = names(FOUND["prefill"])
    assert {"pipeline.9.0", "exp.per_clock", "tile.rows", "efficiency.gemm.compute"} <= prefill.keys()
    assert not {"imbalance.context", "guess.acceptance"} & prefill.keys()
    shared = names(FOUND["two share heads, guessed"])
    assert {"link.nvlink", "link.nvlink_latency", "guess.acceptance"} <= shared.keys()
    dense = names(FOUND["dense"])
    assert not any(name.startswith(("link.", "imbalance.experts", "efficiency.moe")) for name in dense)


def test_what_an_assumption_prices_by_hand() -> None:
    found = FOUND["naive"]
    launches = sum(
        one.count * term.overhead for one in found.sections for term in one.terms if term.op and term.part in one.exposed
    )
    known = names(found)
    assert known["time.launch"] == pytest.approx(launches, rel=1e-12)
    # 58 layers, each with a dispatch and a combine that nothing hides
    assert known["link.rdma_latency"] == pytest.approx(58 * 2 * 12e-6, rel=1e-12)
    assert known["time.step"] == 1e-3


def test_a_latency_of_the_sheet_is_no_assumption() -> None:
    nic = nic_named("cx7").replace(latency=3e-6)
    assert "link.rdma_latency" not in names(estimate(given(nic=nic), defaults()))


def test_hidden_assumptions_price_nothing() -> None:
    found = estimate(given(gpu="h20"), defaults())
    assert names(found)["link.rdma"] == 0.0
    assert re.search(r"link.rdma +0.8 +hidden", "\n".join(lines(found)))


def test_changed_assumptions_are_marked() -> None:
    assumed = defaults().changed_by(["efficiency.gemm.memory=0.5", "time.launch=2us"])
    text = lines(estimate(given(), assumed), assumed)
    assert [line.split()[0] for line in text if line.endswith("changed")] == ["efficiency.gemm.memory", "time.launch"]
    assert any(line.strip().startswith("time.launch") and "2.00 us" in line for line in text)


@every
def test_pricing_names_what_a_change_would_move(found: Estimate) -> None:
    """A lower efficiency of that name makes the kernel longer, and one of the other name does not."""
    given_, assumed = found.configuration, defaults()
    for of, other in (("memory", "compute"), ("compute", "memory")):
        changes = [f"{name}={float(value) * (1 - 1e-5)}" for name, value in assumed.values.items() if name.endswith(f".{of}")]
        slower = estimate(given_, assumed.changed_by(changes))
        for one, less in zip(found.sections, slower.sections, strict=True):
            for term, longer in zip(one.terms, less.terms, strict=True):
                name = pricing(term, given_.gpu, assumed) or ""
                if term.op is not None and name.endswith((f".{of}", f".{other}")):
                    assert (longer.seconds > term.seconds * (1 + 1e-9)) == name.endswith(f".{of}"), (term.name, name)


def terms_of(found: Estimate) -> dict[str, Term]:
    return {term.name: term for one in found.sections for term in one.terms if not one.guess}


def test_tiles_and_the_softmax_are_named_where_they_count() -> None:
    gpu, assumed = gpu_named("h800"), defaults()
    prefill = terms_of(FOUND["prefill"])
    assert softmax(prefill["attn_mha"], gpu, assumed) and not softmax(prefill["o_proj"], gpu, assumed)
    assert partial(prefill["experts"], gpu, assumed) and not partial(prefill["o_proj"], gpu, assumed)
    # 176 rows take three tiles of 64 as long as 192; what is bound by its weights does not feel it.
    assert not partial(terms_of(FOUND["dual"])["o_proj"], gpu, assumed)
    # Three tokens of each sequence: the products take longer than the cache, and hide the softmax.
    wide = terms_of(estimate(given(tp=2, mtp=2, precision=BF16), assumed))
    assert pricing(wide["attn_mqa"], gpu, assumed) == "efficiency.attention.compute"
    assert not softmax(wide["attn_mqa"], gpu, assumed)
    assert pricing(wide["o_proj"], gpu, assumed) == "efficiency.gemm.compute" and wide["o_proj"].by == "memory"
    assert partial(wide["o_proj"], gpu, assumed)


# -- the picture of letters -----------------------------------------------------------------------------------------------------


@every
def test_the_lanes_of_letters(found: Estimate) -> None:
    shown = period(found)
    drawn = {line.split("|")[0].strip(): line for line in lines(found) if line.startswith(("kernels |", "network |"))}
    assert set(drawn) == set(shown.lanes)
    for lane, line in drawn.items():
        bars = line[len("kernels |") :][:88]
        assert len(line) <= 110 and line[len("kernels |") + 88] == "|"
        idle = sum(length for _, length in shown.gaps(lane)) / shown.seconds
        # Each end of a bar is rounded to a column.
        assert bars.count(".") / 88 == pytest.approx(idle, abs=(len(shown.lanes[lane]) + 2) / 88)
        assert idle == pytest.approx(1 - sum(span.seconds for span in shown.lanes[lane]) / shown.seconds, abs=1e-9)
    if found.configuration.policy == "naive":
        assert "-" not in "".join(drawn.values())


def test_parts_without_room_for_their_name_are_listed() -> None:
    text = lines(FOUND["dual"])
    assert re.fullmatch(r"too short for a name: router [\d.]+ us", text[-1])
    assert "attention out B-" in text[-3] and "dispatch A=" in text[-2]


def test_it_is_loaded_without_numpy() -> None:
    """A command may name it at its top, and `dsbench --help` stays fast."""
    code = (
        "import sys, pytest_dsbench.report.serving.explain, pytest_dsbench.report.plots.timeline; print('numpy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
