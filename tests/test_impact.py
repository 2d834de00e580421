"""What a regression costs: made-up runs in which chosen kernels got slower, held against the schedule's formula by hand."""

import csv
import json
from collections.abc import Callable, Iterable, Mapping
from math import log
from pathlib import Path
from typing import Any

import pytest
from gated import Dsbench, command
from reported import header, record, write

from pytest_dsbench.anchors import Anchors
from pytest_dsbench.dims import describe
from pytest_dsbench.environment import Environment
from pytest_dsbench.gate import sources
from pytest_dsbench.hardware import Hardware, named
from pytest_dsbench.measurement import Measurement
from pytest_dsbench.operator import Operator
from pytest_dsbench.operators import find
from pytest_dsbench.runs import Header, read
from pytest_dsbench.serving import precision
from pytest_dsbench.serving.change.changes import Changes
from pytest_dsbench.serving.change.impact import Cost, Impact, impact
from pytest_dsbench.serving.change.timed import Timed, held, of_run, of_verdicts
from pytest_dsbench.serving.change.todo import Gain, Todo, todo
from pytest_dsbench.serving.configuration import Configuration
from pytest_dsbench.serving.estimate import Estimate, estimate
from pytest_dsbench.serving.layer import Split
from pytest_dsbench.serving.model import architecture
from pytest_dsbench.serving.price import nic
from pytest_dsbench.serving.price.assumed import defaults
from pytest_dsbench.shapes import Case
from pytest_dsbench.verdict import Outcome, Verdict

ASSUMED = defaults()
#: 58 MoE layers and 3 dense ones, two micro-batches of 44 sequences.
FLEET = Configuration(
    model=architecture.named("deepseek_v3"),
    gpu=named("h800"),
    nic=nic.named("cx7"),
    split=Split(ep=144, local=2, imbalance=1.2),
    precision=precision.named("fp8"),
    batch=88,
    context=4989,
)
ARGUMENTS = ("--model", "deepseek_v3", "--ep", "144", "--batch", "88", "--context", "4989")
MOE, MICRO, BATCH = 58, 2, 88
MODEL = estimate(FLEET, ASSUMED)
#: What the model assumes that each kernel takes, by its name; those that stand in several places once.
TERMS = {term.name: term for section in MODEL.sections for term in section.terms if term.op is not None}
ANCHORS = Anchors(copy_seconds=1e-4, compute_seconds=6e-4, launch_seconds=2e-6, compute_kind="triton fma")
CPU = Hardware(
    name="cpu", title="AMD EPYC", kind="cpu", peak={"fp32": 1e12, "bf16": 1e12, "fp8": 1e12}, bandwidth=5e10, source="x"
)

Times = Mapping[tuple[Operator, str], float]


def operator(name: str) -> Operator:
    """The operator of a kernel."""
    op = TERMS[name].op
    assert op is not None
    return op.operator


def kernel(name: str, seconds: float | None = None, provider: str = "triton") -> dict[tuple[Operator, str], float]:
    """A kernel of the model with the time that is assumed for it, or with another."""
    return {(operator(name), provider): TERMS[name].seconds if seconds is None else seconds}


def everything() -> dict[tuple[Operator, str], float]:
    """Every kernel with the time that is assumed for it."""
    return {pair: seconds for name in TERMS for pair, seconds in kernel(name).items()}


def measured(times: Times, head: Header, **more: Any) -> list[Measurement]:
    found = []
    for number, ((op, provider), seconds) in enumerate(times.items()):
        case = Case(op=op, label=describe(op), path="shapes/a.toml", line=number + 1)
        limit = record(case, head).bound
        assert limit is not None
        values = {"provider": provider, "anchors": ANCHORS, "at": 1.7e9 + number, "width": 1e-4, **more}
        found.append(record(case, head, limit.seconds / seconds, **values))
    return found


def run(folder: Path, times: Times, day: int = 1, head: Header | None = None, **more: Any) -> Path:
    head = head or header("h800", f"2026-11-{day:02}T01:00:00")
    return write(folder, head, measured(times, head, **more))


def both(folder: Path, then: Times, now: Times, head: Callable[[int], Header] | None = None) -> list[Timed]:
    """Two runs through their files, as `dsbench impact` reads them."""
    heads = [head(day) if head else header("h800", f"2026-11-{day:02}T01:00:00") for day in (1, 2)]
    first, second = (run(folder, times, head=one) for times, one in zip((then, now), heads, strict=True))
    found = read(second)
    assert found.header is not None and not found.complaints
    against = sources.find(str(first), folder, found.header.hardware.name, folder)
    return held(found, found.header, against)


def cost(found: Impact, name: str) -> Cost:
    (one,) = [one for one in (*found.costs, *found.unknown) if name in one.kernel.names]
    return one


def gain(found: Todo, name: str) -> Gain:
    (one,) = [one for one in found.gains if name in one.kernel.names]
    return one


def moe(found: Estimate) -> Any:
    """The parts of one MoE layer, seconds of one micro-batch."""
    (section,) = [section for section in found.sections if section.kind == "moe"]
    return section.parts


def slower(folder: Path, **ratios: float) -> Impact:
    """Every kernel was measured then and now; these became so much slower."""
    then, now = everything(), everything()
    for name, ratio in ratios.items():
        now[operator(name.replace("__", ".")), "triton"] *= ratio
    return impact(FLEET, ASSUMED, Changes(both(folder, then, now)), own=True)


# -- what a change costs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ratio", [1.2, 0.9])
def test_what_is_exposed_costs_all_of_its_change(tmp_path: Path, ratio: float) -> None:
    found = slower(tmp_path, experts=ratio)
    one = cost(found, "experts")
    longer = TERMS["experts"].seconds * (ratio - 1)
    # Nothing runs beside the experts: each of two micro-batches feels all of it, in each of 58 layers.
    step = MODEL.step + MOE * MICRO * longer
    assert found.then.step == pytest.approx(MODEL.step, rel=1e-5)
    assert one.rates.step == pytest.approx(MOE * MICRO * longer, rel=1e-4)
    assert one.rates.user == pytest.approx(1 / step - 1 / MODEL.step, rel=1e-3)
    assert one.rates.per_gpu == pytest.approx(BATCH / step - BATCH / MODEL.step, rel=1e-3)
    assert (one.rates.per_gpu < 0) == (ratio > 1)
    (layer,) = one.layers
    assert (layer.kind, layer.count) == ("moe", MOE)
    assert layer.now - layer.then == pytest.approx(MICRO * longer, rel=1e-4)
    assert (one.change.origin, one.change.provider, one.hidden, one.change.noise) == ("measured", "triton", 0.0, False)
    assert found.costs[0 if ratio > 1 else -1] is one
    assert found.now.per_gpu == pytest.approx(found.then.per_gpu + one.rates.per_gpu, rel=1e-6)
    # The ends of the interval of the change, with the slow end first to lose.
    assert one.low is not None and one.high is not None and one.high < one.rates.per_gpu < one.low


def test_what_is_hidden_costs_nothing(tmp_path: Path) -> None:
    """The dispatch takes far longer than the shared experts and the projections beside it."""
    found = slower(tmp_path, shared__down=1.2)
    one = cost(found, "shared.down")
    parts = moe(MODEL)
    assert parts.shared + parts.attention_in + 0.2 * TERMS["shared.down"].seconds < parts.dispatch
    assert one.change.value == pytest.approx(log(1.2), abs=1e-5)
    assert one.rates.per_gpu == one.rates.step == 0.0
    assert (one.hidden, one.kernel.beside, one.kernel.exposed) == (1.0, ("dispatch",), 0.0)
    assert one.kernel.together == pytest.approx(MOE * MICRO * TERMS["shared.down"].seconds, rel=1e-5)


def test_what_outgrows_the_network_costs_the_rest(tmp_path: Path) -> None:
    found = slower(tmp_path, shared__gate_up=4)
    one = cost(found, "shared.gate_up")
    parts = moe(MODEL)
    longer = 3 * TERMS["shared.gate_up"].seconds
    felt = parts.shared + parts.attention_in + longer - parts.dispatch
    assert 0 < felt < longer
    assert one.rates.step == pytest.approx(MOE * MICRO * felt, rel=1e-4)
    assert one.hidden == pytest.approx(1 - felt / longer, rel=1e-4)


def test_one_by_one_and_together(tmp_path: Path) -> None:
    """Two that hide alone do not hide together."""
    found = slower(tmp_path, shared__gate_up=1.8, shared__down=1.8, experts=1.1)
    parts = moe(MODEL)
    each = [0.8 * TERMS[name].seconds for name in ("shared.gate_up", "shared.down")]
    beside = parts.shared + parts.attention_in
    assert beside + max(each) < parts.dispatch < beside + sum(each)
    assert cost(found, "shared.gate_up").rates.step == cost(found, "shared.down").rates.step == 0
    felt = beside + sum(each) - parts.dispatch + 0.1 * TERMS["experts"].seconds
    assert found.now.step - found.then.step == pytest.approx(MOE * MICRO * felt, rel=1e-3)
    alone = sum(one.rates.per_gpu for one in found.costs)
    assert found.now.per_gpu - found.then.per_gpu < alone < 0


def test_a_kernel_of_several_sections_counts_once(tmp_path: Path) -> None:
    found = slower(tmp_path, o_proj=1.2)
    one = cost(found, "o_proj")
    assert [(layer.kind, layer.count) for layer in one.layers] == [("dense", 3), ("moe", 58)]
    # In a dense layer nothing is beside it; in a MoE layer what runs beside the combine takes longer than that.
    parts = moe(MODEL)
    assert parts.attention_out + parts.router > parts.combine
    assert one.rates.step == pytest.approx((3 + MOE) * MICRO * 0.2 * TERMS["o_proj"].seconds, rel=1e-4)
    norms = cost(found, "post_attention_layernorm")
    assert set(norms.kernel.names) == {"input_layernorm", "post_attention_layernorm", "norm"}


# -- what says how much a kernel changed --------------------------------------------------------------------------------------


def o_proj(m: int, n: int = 7168, k: int = 16384) -> Operator:
    return find("block_scaled_mm").build({"m": m, "n": n, "k": k, "out_dtype": "bf16"})


def of(timed: Iterable[Timed], name: str = "o_proj", provider: str | None = None) -> Any:
    op = TERMS[name].op
    assert op is not None
    return Changes(timed, provider).of(op)


def test_between_measured_shapes(tmp_path: Path) -> None:
    then = {(o_proj(m), "triton"): 5e-5 for m in (16, 32, 64)}
    now = {(o_proj(16), "triton"): 1e-4, (o_proj(32), "triton"): 5.5e-5, (o_proj(64), "triton"): 6.5e-5}
    found = of(both(tmp_path, then, now))
    share = log(44 / 32) / log(64 / 32)
    assert found.value == pytest.approx((1 - share) * log(1.1) + share * log(1.3), rel=1e-4)
    assert (found.origin, found.why) == ("interpolated", "triton, between 3 measured shapes")
    assert found.low is not None and found.low < found.value < found.high


def test_as_the_other_shapes_of_the_operator(tmp_path: Path) -> None:
    shapes = [o_proj(4096), o_proj(8192), o_proj(8192, n=512)]
    then = {(one, "triton"): 1e-3 for one in shapes}
    now = {(one, "triton"): 1e-3 * ratio for one, ratio in zip(shapes, (1.0, 1.1, 1.331), strict=True)}
    timed = both(tmp_path, then, now)
    found = of(timed)
    assert (found.value, found.origin) == (pytest.approx(log(1.1) * 4 / 3, rel=1e-4), "other shapes")
    assert found.why == "assumed to change as 3 other shapes of block_scaled_mm, +0.0 % to +33.1 %"
    assert found.low <= 1e-5 and found.high >= log(1.331) - 1e-5 and found.noise
    # Nothing is known of another operator, and it is named.
    nothing = impact(FLEET, ASSUMED, Changes(timed), own=True)
    experts = cost(nothing, "experts")
    assert experts in nothing.unknown and experts.rates.per_gpu == 0
    assert experts.change.why == "fp8_blockscale_fused_moe was not measured then and now"
    assert nothing.beyond == nothing.then != nothing.now
    assert sum(nothing.shares.values()) < 1 and nothing.shares["measured"] == 0 < nothing.shares["other shapes"]


def test_what_the_layer_runs_is_the_fastest_then(tmp_path: Path) -> None:
    then = kernel("o_proj", 5e-5) | kernel("o_proj", 6e-5, "torch") | kernel("o_proj", 4e-5, "cutlass")
    now = kernel("o_proj", 7e-5) | kernel("o_proj", 6e-5, "torch")
    timed = both(tmp_path, then, now)
    found = of(timed)
    assert (found.provider, found.value) == ("triton", pytest.approx(log(1.4), abs=1e-4))
    assert found.note == "torch is faster now, 60.0 us"
    assert of(timed, provider="torch").value == pytest.approx(0, abs=1e-9)
    assert of(timed, provider="nobody").provider == "triton"
    lost = [*timed, Timed(case=timed[0].case.replace(provider="flash"), then=1e-5, lost="crashed: signal 11")]
    assert of(lost).note == "flash was faster then and has no time now (crashed: signal 11); torch is faster now, 60.0 us"


def test_a_change_that_may_be_none_is_noise(tmp_path: Path) -> None:
    """Of a few cases nobody knows how much they scatter from night to night: 3 % may be nothing."""
    found = impact(
        FLEET, ASSUMED, Changes(both(tmp_path, kernel("experts"), kernel("experts", 1.03 * TERMS["experts"].seconds))), own=True
    )
    one = cost(found, "experts")
    assert one.change.noise and one.low is not None and one.high is not None and one.high < 0 < one.low
    assert found.beyond == found.then and found.now.per_gpu < found.then.per_gpu


def test_a_slow_night_of_the_machine_is_no_change(tmp_path: Path) -> None:
    """The anchors moved with the times: nothing happened to the kernels."""
    first = run(tmp_path, everything())
    head = header("h800", "2026-11-02T01:00:00")
    slow = ANCHORS.replace(copy_seconds=1.04e-4, compute_seconds=6.24e-4)
    second = read(run(tmp_path, {pair: 1.04 * seconds for pair, seconds in everything().items()}, head=head, anchors=slow))
    timed = held(second, head, sources.find(str(first), tmp_path, "h800", tmp_path))
    assert of(timed).value == pytest.approx(0, abs=1e-5)
    assert of_run(second)[0].now == pytest.approx(1.04 * next(iter(everything().values())))


def test_another_environment_is_held_by_its_bare_times(tmp_path: Path) -> None:
    def head(day: int) -> Header:
        return header("h800", f"2026-11-{day:02}T01:00:00", driver=f"58{day}.1")

    timed = both(tmp_path, kernel("o_proj"), kernel("o_proj", 1.2 * TERMS["o_proj"].seconds), head)
    found = of(timed)
    assert (found.value, found.low, found.noise) == (pytest.approx(log(1.2), abs=1e-5), None, False)
    assert timed[0].unjudged == "the baseline is of another environment: driver 581.1 -> 582.1"


def test_times_from_a_warm_cache_are_none_of_the_rooflines(tmp_path: Path) -> None:
    then, now = (read(run(tmp_path, kernel("experts", seconds), day, cold=False)) for day, seconds in ((1, 4e-5), (2, 5e-5)))
    assert now.header is not None
    timed = held(now, now.header, sources.find(then.path, tmp_path, "h800", tmp_path))
    found = impact(FLEET, ASSUMED, Changes(timed), own=True)
    one = cost(found, "experts")
    assert (one.change.value, one.kernel.source) == (pytest.approx(log(1.25), abs=1e-5), "assumed")
    assert one.kernel.seconds == TERMS["experts"].seconds


@pytest.mark.parametrize(
    ("outcome", "counts"), [("regressed", True), ("improved", True), ("suspect", False), ("same", False), ("learning", False)]
)
def test_in_the_gate_only_what_is_confirmed_counts(tmp_path: Path, outcome: Outcome, counts: bool) -> None:
    (one,) = both(tmp_path, kernel("o_proj"), kernel("o_proj"))
    change = -0.2 if outcome == "improved" else 0.2
    verdict = Verdict(case=one.case, outcome=outcome, then=5e-5, now=6e-5, change=change, low=change - 0.1, high=change + 0.1)
    assert of(of_verdicts([verdict], confirmed=True)).value == (change if counts else 0.0)
    assert of(of_verdicts([verdict])).value == change
    wide = verdict.replace(low=-0.3, high=0.3)
    assert of(of_verdicts([wide])).noise and of(of_verdicts([wide], confirmed=True)).noise is not counts
    missing = Verdict(case=one.case, outcome="missing", why="gone", then=5e-5)
    assert of(of_verdicts([missing], confirmed=True)).why == (
        f"block_scaled_mm was not measured then and now: {one.case.name} is missing: gone"
    )


# -- other hardware -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hw", ["h200", "cpu"])
def test_of_other_hardware_only_ratios_carry_over(tmp_path: Path, hw: str) -> None:
    def head(day: int) -> Header:
        started = f"2026-11-{day:02}T01:00:00"
        place = Environment(device="cpu")
        return header(hw, started) if hw != "cpu" else Header(started=started, environment=place, hardware=CPU)

    timed = both(tmp_path, kernel("experts", 3e-3), kernel("experts", 4.5e-3), head)
    found = impact(FLEET, ASSUMED, Changes(timed), own=False)
    assert found.then.per_gpu == MODEL.per_gpu and found.measured == 0 and not found.own
    longer = MOE * MICRO * 0.5 * TERMS["experts"].seconds
    assert cost(found, "experts").rates.step == pytest.approx(longer, rel=1e-4)


# -- to do --------------------------------------------------------------------------------------------------------------------


def test_what_the_speed_of_light_would_gain(tmp_path: Path) -> None:
    times = kernel("experts", 8e-5)
    found = todo(FLEET, ASSUMED, Changes(of_run(read(run(tmp_path, times)))), own=True)
    step = MODEL.step + MOE * MICRO * (8e-5 - TERMS["experts"].seconds)
    assert found.now.step == pytest.approx(step, rel=1e-9)
    faster = step - MOE * MICRO * (8e-5 - TERMS["experts"].t_sol)
    one = gain(found, "experts")
    assert one.rates.per_gpu == pytest.approx(BATCH / faster - BATCH / step, rel=1e-6)
    assert one.rates.user == pytest.approx(1 / faster - 1 / step, rel=1e-6)
    assert one.kernel.source == "measured" and one.best is None
    assert found.measured == pytest.approx(MOE * MICRO * 8e-5 / step, rel=1e-6)
    assert gain(found, "shared.down").rates.per_gpu == 0 and gain(found, "shared.down").hidden == 1
    assert [one.most for one in found.gains] == sorted((one.most for one in found.gains), reverse=True)


def test_what_the_best_provider_would_gain(tmp_path: Path) -> None:
    timed = of_run(read(run(tmp_path, kernel("experts", 8e-5) | kernel("experts", 6e-5, "flashinfer"))))
    assert gain(todo(FLEET, ASSUMED, Changes(timed), own=True), "experts").best is None, "a layer runs the fastest"
    found = todo(FLEET, ASSUMED, Changes(timed, "triton"), own=True)
    best = gain(found, "experts").best
    assert best is not None and (best.provider, best.instead_of) == ("flashinfer", "triton")
    assert best.seconds == pytest.approx(6e-5)
    assert best.rates.step == pytest.approx(-MOE * MICRO * 2e-5, rel=1e-6)


def test_what_is_no_kernel() -> None:
    found = todo(FLEET, ASSUMED)
    others = {one.what: one.rates for one in found.others}
    assert others.keys() == {"rdma", "launches"}, "decode over 144 GPUs sends more between nodes than within them"
    without = estimate(FLEET, ASSUMED.changed_by(["time.launch=0us"]))
    assert others["launches"].per_gpu == pytest.approx(without.per_gpu - MODEL.per_gpu)
    assert found.measured == 0 and all(one.kernel.source == "assumed" for one in found.gains)
    light = gain(found, "lm_head")
    faster = MODEL.step - MICRO * (TERMS["lm_head"].seconds - TERMS["lm_head"].t_sol)
    assert light.rates.per_gpu == pytest.approx(BATCH / faster - BATCH / MODEL.step, rel=1e-9)


# -- the command --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def dsbench(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Dsbench:
    monkeypatch.chdir(tmp_path)
    return command(capsys)


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """Two runs; o_proj got a fifth slower, the shared experts too, which is hidden. The router was not measured."""
    then = everything()
    del then[operator("topk"), "triton"]
    now = dict(then)
    for name in ("o_proj", "shared.down"):
        now[operator(name), "triton"] *= 1.2
    return run(tmp_path / "runs", then, 1), run(tmp_path / "runs", now, 2)


def test_as_text(dsbench: Dsbench, pair: tuple[Path, Path]) -> None:
    code, out, err = dsbench("impact", pair[1], "--against", pair[0], *ARGUMENTS, "--csv", "cost.csv")
    assert (code, err) == (0, [])
    assert out[0] == "DeepSeek-V3 on NVIDIA H800 SXM 80 GB, decode"
    assert "EP 144 with 2 experts" in out[1] and "4989 tokens of context" in out[2] and out[3] == f"{pair[1]} against {pair[0]}"
    (line,) = [line for line in out if line.startswith("o_proj ")]
    step = MODEL.step + (3 + MOE) * MICRO * 0.2 * TERMS["o_proj"].seconds
    assert f"  {BATCH / step - BATCH / MODEL.step:.1f} (" in line and " +20.0 % " in line and line.endswith("  triton")
    (line,) = [line for line in out if line.startswith("shared.down ")]
    assert line.split()[-9:] == ["s", "0", "0", "%", "0", "hidden", "behind", "dispatch;", "triton"]
    assert "taken as unchanged: topk: moe_fused_gate was not measured then and now" in out
    assert not [line for line in out if line.startswith("experts ")], "unchanged, and counted as within noise"
    (line,) = [line for line in out if line.startswith("within noise, ")]
    assert "experts" in line and "o_proj," not in line
    rows = {row["kernel"]: row for row in csv.DictReader(Path("cost.csv").read_text(encoding="utf-8").splitlines())}
    assert float(rows["o_proj"]["change"]) == pytest.approx(log(1.2), abs=1e-5)
    assert (rows["shared.down"]["hidden_share"], rows["topk"]["known"]) == ("1.0", "not measured")
    assert out[-1] == "written: cost.csv"
    code, out, _ = dsbench("impact", pair[1], "--against", pair[0], *ARGUMENTS, "-v", "--todo", "--format", "markdown")
    assert code == 0 and [line for line in out if line.startswith("| experts |")] and [line for line in out if "to do:" in line]


def test_the_list_alone(dsbench: Dsbench, pair: tuple[Path, Path]) -> None:
    code, out, err = dsbench("impact", pair[0], *ARGUMENTS)
    assert (code, err) == (0, []) and not [line for line in out if line.startswith("then ")]
    assert f"times of {pair[0]}" in out
    code, out, _ = dsbench("impact", *ARGUMENTS, "--gpu", "h800", "--format", "json")
    found = json.loads("\n".join(out))
    assert (code, found["impact"], found["notes"]) == (0, None, ["no run was given: every time is assumed"])
    assert found["todo"]["now"]["per_gpu"] == pytest.approx(MODEL.per_gpu)


def test_what_it_says_of_other_hardware(dsbench: Dsbench, pair: tuple[Path, Path]) -> None:
    _, out, _ = dsbench("impact", pair[1], "--against", pair[0], *ARGUMENTS, "--gpu", "h200")
    carried = "measured on h800 (NVIDIA H800 SXM 80 GB): only ratios of its times carry over, the times on h200 are assumed"
    assert carried in out and "all times of the step are assumed; only the ratios were measured" in out


def test_runs_without_anchors(dsbench: Dsbench, tmp_path: Path) -> None:
    slow = kernel("o_proj", 2 * TERMS["o_proj"].seconds)
    first, second = run(tmp_path, kernel("o_proj"), 1, anchors=None), run(tmp_path, slow, 2, anchors=None)
    code, out, _ = dsbench("impact", second, "--against", first, *ARGUMENTS)
    assert code == 0 and [line for line in out if line.startswith("there are not anchors in both runs: ")]
    (line,) = [line for line in out if line.startswith("o_proj ")]
    assert "+100.0 %" in line


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--against", "x"), "impact: --against is about the times of a run; expected a run file, as every"),
        (("nowhere.jsonl",), "nowhere.jsonl: no such run file"),
        (("now", "--against", "nowhere"), "--against=nowhere: "),
        (("now", "--gpu", "h800,h20"), "--gpu: impact takes one configuration; expected one value, not 2"),
        (("now", "--batch", "16,32"), "--batch: impact takes one configuration; expected one value, not 2"),
        (("now", "--batch", "4000"), "deepseek_v3 does not fit on h800: "),
        (("now", "--provider", "tritn"), "--provider: now has no time of 'tritn'; known: triton"),
        (("now", "--assume", "efficiency.gemm.memory=2"), "--assume 'efficiency.gemm.memory=2': 2 cannot be"),
        (("other", "--against", "now"), "--against=now: a baseline of h800; this run is on h200"),
        (("imported", "--against", "now"), "imported: a.csv; it has neither the environment nor the anchors of a run"),
        (("beheaded",), "beheaded: the first line of the run is lost"),
    ],
)
def test_mistakes(dsbench: Dsbench, pair: tuple[Path, Path], arguments: tuple[str, ...], sentence: str) -> None:
    pair[1].rename("now")
    run(Path("runs"), kernel("o_proj"), head=header("h200")).rename("other")
    run(Path("runs"), kernel("o_proj"), head=header().replace(imported="a.csv")).rename("imported")
    Path("beheaded").write_bytes(b"\n".join(Path("now").read_bytes().splitlines()[1:]))
    code, out, err = dsbench("impact", *(ARGUMENTS if "--batch" not in arguments else ARGUMENTS[:4]), *arguments)
    assert (code, out) == (2, []) and err[-1].startswith(f"dsbench: {sentence}"), err


def test_in_the_gates_summary(dsbench: Dsbench, pair: tuple[Path, Path]) -> None:
    served = "deepseek_v3,gpu=h800,ep=144,batch=88,context=4989"
    code, out, _ = dsbench("compare", *pair, "--serving", served, "--serving", "qwen3_8b,batch=8")
    assert code == 1
    step = MODEL.step + (3 + MOE) * MICRO * 0.2 * TERMS["o_proj"].seconds
    (at,) = [number for number, line in enumerate(out) if line.startswith(f"serving {served}: ")]
    rates = f"{BATCH / MODEL.step:.0f} -> {BATCH / step:.0f} tokens/s per GPU ({100 * (MODEL.step / step - 1):.1f} %)"
    assert out[at].startswith(f"serving {served}: {rates}; ") and out[at].endswith(" % of the step rests on measured times")
    assert out[at + 1].startswith(f"  o_proj +20.0 %: {BATCH / step - BATCH / MODEL.step:.1f} (")
    assert out[at + 2] == "  hidden behind the network, at no cost: shared.down +20.0 %"
    assert out[at + 3].startswith("serving qwen3_8b,batch=8,context=4096: ") and "(0 %)" in out[at + 3]
    assert not [line for line in out if "dsbench impact" in line]
    code, out, _ = dsbench("compare", *pair, "--serving", served, "--format", "markdown")
    assert [line[:14] for line in out[-3:]] == ["- serving deep", "  - o_proj +20", "  - hidden beh"]
    code, out, _ = dsbench("compare", *pair, "--serving", served, "--format", "json")
    assert json.loads("\n".join(out))["serving"][served]["now"]["per_gpu"] == pytest.approx(BATCH / step, rel=1e-4)


def test_without_being_asked_the_gate_names_the_command(dsbench: Dsbench, pair: tuple[Path, Path]) -> None:
    hint = "what that is in tokens/s of what is served: dsbench impact RUN --against BASELINE --model NAME"
    assert hint in dsbench("compare", *pair)[1]
    assert hint not in dsbench("compare", pair[0], pair[0])[1], "nothing changed"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("deepseek_v4", "unknown model 'deepseek_v4'; did you mean 'deepseek_v3'?"),
        ("gpu=h800", "expected a model and what else is known of how it is served, such as deepseek_v3,gpu=h800,"),
        ("deepseek_v3,ep", "'ep' is not key=value"),
        ("deepseek_v3,bach=8", "unknown key 'bach'; did you mean 'batch'? known: assume, batch, cache, "),
        ("deepseek_v3,ep=144,batch=8,context=x", "argument --context: invalid int value: 'x'"),
        ("deepseek_v3,ep=8,batch=512", "deepseek_v3 does not fit on h800: "),
    ],
)
def test_mistakes_in_what_is_served(dsbench: Dsbench, pair: tuple[Path, Path], text: str, sentence: str) -> None:
    code, out, (line,) = dsbench("compare", *pair, "--serving", text)
    assert (code, out) == (2, []) and line.startswith(f"dsbench: --serving={text}: {sentence}")
