"""Deployments that others measured: what the corrected model says of them, and what docs/serving.md says of that."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pytest_dsbench.formula import evaluate
from pytest_dsbench.hardware import named as gpu_named
from pytest_dsbench.operators import find
from pytest_dsbench.record import Record
from pytest_dsbench.report.serving.deployments import HEAD, cells, deployment_lines, moved_head, moved_rows
from pytest_dsbench.report.table import markdown
from pytest_dsbench.serving import study
from pytest_dsbench.serving.deployments import Deployment, Held, Moved, deployments, errors, held, moved
from pytest_dsbench.serving.estimate import estimate
from pytest_dsbench.serving.layer import (
    Op,
    Pass,
    Split,
    attention,
    dense,
    experts,
    head,
    joint,
    router,
    shared,
)
from pytest_dsbench.serving.model.architecture import Architecture, Gqa, Mla, Moe
from pytest_dsbench.serving.precision import Precision, Weight
from pytest_dsbench.serving.price.assumed import defaults
from pytest_dsbench.units import quantity

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
ASSUMED = defaults()


@cache
def rows() -> tuple[Held, ...]:
    return held(ASSUMED)


@cache
def shifts() -> tuple[Moved, ...]:
    return tuple(moved(ASSUMED))


# -- the deployments ------------------------------------------------------------------------------------------------------------


def test_the_three_deployments_are_those_that_were_published() -> None:
    found = {one.name: (one.gpu, one.ep, one.policy, one.mtp, one.batch, one.context, one.measured) for one in deployments()}
    assert found == {
        "service": ("h800", 144, "dual", 0, 88, 4989, 1850),
        "profile": ("h800", 128, "dual", 0, 64, 4096, 2324),
        "sglang": ("h100_sxm", 72, "dual", 0, 256, 2000, 2787),
    }
    assert round(1850 / 21) == 88


def test_what_is_ours_is_said() -> None:
    ours = {one.name: {value.key for value in one.assumed} for one in deployments()}
    assert "batch" in ours["service"] and "context" in ours["profile"] and {"batch", "context"} <= ours["sglang"]
    for one in deployments():
        assert one.source
        for value in one.assumed:
            assert value.key in Deployment.__struct_fields__ and value.why


def test_all_deployments_have_one_precision_and_one_set_of_assumptions() -> None:
    assert {(one.weights, one.cache, one.nic, one.model) for one in deployments()} == {("fp8", "bf16", "cx7", "deepseek_v3")}
    fields = set(Deployment.__struct_fields__)
    # Nothing that a row could be fitted with.
    assert fields == {
        *("name", "title", "model", "gpu", "nic", "ep", "policy", "mtp", "weights", "cache", "batch", "context"),
        *("measured", "users", "source", "assumed", "readings"),
    }


def test_each_is_within_a_fifth_with_the_defaults() -> None:
    for one in rows():
        assert abs(one.error) < 0.20, one.deployment.name
        assert one.fits
        assert one.per_gpu == pytest.approx(one.user * one.deployment.batch)
    assert tuple(one.error for one in rows()) == errors(ASSUMED)


def test_no_assumption_is_a_knife_edge() -> None:
    """Each moved by a fifth of itself: every row stays within 26 %, and no row moves by more than 19 points."""
    now = [one.error for one in rows()]
    for one in shifts():
        for end in one.ends:
            assert all(abs(error) < 0.26 for error in end), one
            assert all(abs(error - before) < 0.19 for error, before in zip(end, now, strict=True)), one


def test_every_number_is_moved_by_a_fifth_or_to_its_end() -> None:
    found = {one.name: one for one in shifts()}
    assert set(found) == {name for name, value in ASSUMED.values.items() if isinstance(value, float)}
    assert (found["efficiency.moe.compute"].low, found["efficiency.moe.compute"].high) == ("0.48", "0.72")
    assert (found["time.step"].low, found["tile.rows"].high) == ("800 us", "77")
    assert (found["imbalance.context"].low, found["memory.usable"].high) == ("1", "1")
    for one in shifts():
        low, high = (ASSUMED.changed_by([f"{one.name}={text}"]).number(one.name) for text in (one.low, one.high))
        assert low <= ASSUMED.number(one.name) <= high and low < high


def test_what_was_measured_is_below_the_bound() -> None:
    """With everything perfect the model is faster than every deployment."""
    assert all(error > 0 for error in perfect())


def perfect() -> tuple[float, ...]:
    names = [name for name in ASSUMED.values if name.startswith("efficiency.") or name in ("link.rdma", "link.nvlink")]
    free = [f"{name}=0us" for name in ("time.step", "time.launch", "link.rdma_latency", "link.nvlink_latency")]
    even = ["imbalance.experts=1", "imbalance.context=1"]
    return errors(ASSUMED.changed_by([f"{name}=1" for name in names] + free + even))


def test_the_first_is_also_held_at_the_rates_of_its_users() -> None:
    first, second, third = rows()
    assert [one.why.split()[-2] for one in first.beside] == ["20", "22"]
    for one, rate in zip(first.beside, (20, 22), strict=True):
        given = first.deployment.configuration(ASSUMED)
        assert one.user >= rate and one.per_gpu == pytest.approx(one.batch * one.user)
        above = estimate(given.replace(batch=one.batch + 1), ASSUMED)
        assert above.user < rate or not above.fits
        assert estimate(given.replace(batch=one.batch), ASSUMED).user == pytest.approx(one.user, rel=1e-9)
    assert [one.batch for one in second.beside] == [128] and [one.batch for one in third.beside] == [128]


def test_lines_name_sources_assumptions_and_errors() -> None:
    lines = list(deployment_lines(rows()))
    text = "\n".join(lines)
    for one in rows():
        assert one.deployment.source in text
        for value in one.deployment.assumed:
            assert f"{value.key} {getattr(one.deployment, value.key)} is our assumption: {value.why}" in text
    assert "nothing is fitted" in lines[0]
    assert "moved" not in text
    longer = list(deployment_lines(rows(), shifts()))
    assert longer[: len(lines)] == lines and any(line.startswith("link.rdma ") for line in longer)
    small = rows()[0].replace(fits=False)
    assert "(does not fit)" in "\n".join(deployment_lines([small]))


# -- docs/serving.md ------------------------------------------------------------------------------------------------------------


def tables(text: str) -> Iterator[list[list[str]]]:
    """The tables of some markdown, head first, without their rules."""
    found: list[list[str]] = []
    for line in [*text.splitlines(), ""]:
        if line.startswith("|"):
            found.append([cell.strip().replace("\\|", "|") for cell in line.strip("|").split(" | ")])
        elif found:
            yield [found[0], *found[2:]]
            found = []


def part(title: str) -> str:
    begin = PAGE.index(f"\n## {title}\n")
    end = PAGE.find("\n## ", begin + 4)
    return PAGE[begin : end if end > 0 else None]


def test_the_table_of_deployments_is_what_the_code_computes() -> None:
    for line in markdown(HEAD, [cells(one) for one in rows()], left=2):
        assert f"\n{line}\n" in PAGE, line


def test_the_table_of_moved_assumptions_is_what_the_code_computes() -> None:
    lines = markdown(moved_head(rows()), moved_rows(rows(), shifts()), left=1)
    assert "\n".join(lines) in PAGE
    shown = {row[0] for row in moved_rows(rows(), shifts())}
    other = [one.name for one in shifts() if one.name not in shown]
    flat = " ".join(PAGE.split())
    assert f"No other value changes any of the three by 0.05 %: {', '.join(f'`{name}`' for name in other)}." in flat
    over = {one.name for one in shifts() if any(abs(error) > 0.2 for end in one.ends for error in end)}
    assert f"{len(over)} of these {len(shown)}, moved to one of their ends, put a row beyond 20 %" in flat
    first, second = rows()[0].error, rows()[1].error
    nearer = [one.name for one in shifts() for end in one.ends if abs(end[0]) < abs(first) and abs(end[1]) < abs(second)]
    assert not nearer and "no change of one value brings both nearer" in flat
    third = rows()[2].error
    points = {one.name: [100 * abs(end[2] - third) for end in one.ends] for one in shifts()}
    both = points.pop("link.rdma") + points.pop("imbalance.experts")
    assert "the two assumptions about them move it by 13 to 18 points" in flat
    assert min(both) >= 13 and round(max(both)) == 18 and max(map(max, points.values())) < 4
    worst = max((error for one in shifts() for end in one.ends for error in end), key=abs)
    assert f"The largest error of the table is {100 * worst:+.1f} %" in flat


def test_the_explanations_have_the_numbers_of_the_code() -> None:
    flat = " ".join(PAGE.split())
    first, second, _ = rows()
    step = 1e3 * first.deployment.batch / first.per_gpu
    assert f"the model says {step:.1f} ms, {first.user:.1f} tokens/s for each user" in flat
    at20, at22 = first.beside
    shares = [100 * (one.per_gpu / 1850 - 1) for one in (at22, at20)]
    assert f"{at22.per_gpu:.0f} or {at20.per_gpu:.0f} ({shares[0]:+.1f} % or {shares[1]:+.1f} %)" in flat
    even = ["imbalance.experts=1", "imbalance.context=1"]
    alone, bare = (100 * errors(ASSUMED.changed_by(given))[1] for given in (even, [*even, "time.step=0us"]))
    assert f"With both imbalances at 1 the error is {alone:+.1f} %, without the host's share too {bare:+.1f} %" in flat
    (other,) = second.beside
    assert f"the model gives {other.per_gpu:.0f} tokens/s ({100 * (other.per_gpu / 2324 - 1):+.1f} %)" in flat
    limits = [f"{one.deployment.measured * (1 + error):.0f}" for one, error in zip(rows(), perfect(), strict=True)]
    assert f"the model gives {limits[0]}, {limits[1]} and {limits[2]} tokens/s" in flat


def test_the_table_of_assumptions_is_the_file() -> None:
    (table,) = tables(part("Assumed values"))
    assert table[0] == ["name", "value", "meaning", "source"]

    def read(text: str) -> float | str:
        words = text.split()
        if len(words) == 2:
            return quantity(text, "s")
        return float(text) if text[0].isdigit() else text

    found = {row[0]: read(row[1]) for row in table[1:]}
    assert found.keys() == ASSUMED.values.keys()
    for name, value in ASSUMED.values.items():
        assert found[name] == (pytest.approx(value) if isinstance(value, float) else value), name
    assert all(row[2] and row[3] for row in table[1:])


def test_the_published_section_has_the_numbers_of_the_study() -> None:
    text, constants = part("The published variant"), study.load()
    table = constants.discount
    for numbers in (table.up, table.down):
        assert ", ".join(f"{number:.0f}" for number in numbers) in " ".join(text.split()), numbers
    for value in (constants.context, constants.attention.chunk, constants.model.layers, constants.acceptance):
        assert str(value) in text
    for one in constants.held:
        assert f"{one.batch} " in text and f"EP{one.ep}" in text


# -- the lists of kernels -------------------------------------------------------------------------------------------------------

#: Sizes that have nothing in common, so that no formula is right by chance; Q and S too.
SIZES: dict[str, Any] = {
    "S": 5, "Q": 3, "N": 611, "tp": 2, "H": 1280, "V": 1009, "rq": 384, "rk": 256, "dn": 96, "dr": 48, "dv": 80,
    "I": 3 * 512, "Is": 768, "Ie": 640, "E": 32, "K": 6, "ng": 8, "kg": 4, "P": 9001, "L": 4, "d": 112, "h": 7 * 2, "g": 2,
}  # fmt: skip
SPLIT = Split(ep=8, local=4, imbalance=1.3)


def made(latent: bool = True, scoring: Any = "sigmoid") -> Architecture:
    names = {name: SIZES[name] for name in SIZES}
    mla = Mla(q_lora_rank=names["rq"], kv_lora_rank=names["rk"], nope_dim=names["dn"], rope_dim=names["dr"], v_dim=names["dv"])
    moe = Moe(
        experts=names["E"], top_k=names["K"], intermediate=names["Ie"], shared=names["Is"], groups=names["ng"],
        kept_groups=names["kg"], scoring=scoring,
    )  # fmt: skip
    return Architecture(
        name="made", title="made", source="test", hidden=names["H"], layers=4, vocab=names["V"], heads=names["h"] * 2,
        attention=mla if latent else Gqa(kv_heads=names["g"] * 2, head_dim=names["d"], qk_norm=True),
        intermediate=names["I"], dense_layers=1, moe=moe, draft_layers=1, tied=False, fp8_block=True,
        max_positions=names["P"],
    )  # fmt: skip


def given(weight: Weight, decode: bool = True) -> Pass:
    queries = SIZES["Q"] if decode else 41
    return Pass(
        sequences=SIZES["S"], queries=queries, context=SIZES["N"] if decode else queries, tp=SIZES["tp"],
        precision=Precision(dense=weight, experts="fp8"), decode=decode,
    )  # fmt: skip


class Listed(Record):
    """A kernel as a table of the page has it."""

    name: str
    operator: Any
    stage: str
    launches: int
    count: int = 1


def listed(rows: list[list[str]], seen: Pass, moe: Moe) -> Iterator[Listed]:
    """A table of the page as kernels."""
    tokens = seen.tokens
    scope = SIZES | {"Q": seen.queries, "N": seen.context, "T": tokens, "G": tokens * seen.tp, "R": SPLIT.rows(tokens, moe)}
    weight = seen.precision.dense
    for name, operator, dimensions, stage, kernels in rows[1:]:
        dims: dict[str, Any] = {}
        for item in dimensions.split(", "):
            key, formula = item.split(" = ")
            dims[key] = formula if formula == "bf16" else evaluate(f"= {formula}", scope)
        count = 1
        if operator == "linear":
            operator = {"bf16": "matmul", "fp8": "block_scaled_mm", "fp4": "scaled_fp4_mm"}[weight]
            if weight == "fp8":
                quant = find("per_token_group_quant_fp8")(tokens=dims["m"], hidden=dims["k"])
                yield Listed(name=f"{name}.quant", operator=quant, stage=stage, launches=1)
                dims["out_dtype"] = "bf16"
        elif operator == "batched":
            operator, count = ("matmul", SIZES["h"]) if weight == "bf16" else ("bmm_fp8", 1)
            dims |= {} if weight == "bf16" else {"batch": SIZES["h"]}
        made_of = msgspec.convert(dims, find(operator))
        yield Listed(name=name, operator=made_of, stage=stage, launches=int(kernels), count=count)


def of_code(ops: Iterator[Op] | list[Op]) -> list[Listed]:
    return [Listed(name=op.name, operator=op.operator, stage=op.stage, launches=op.launches, count=op.count) for op in ops]


@pytest.mark.parametrize("weight", ["bf16", "fp8", "fp4"])
def test_the_tables_of_kernels_are_the_lists_of_the_code(weight: Weight) -> None:
    decode, prefill, gqa, mlp, moe_table, fp4_table, head_table = tables(part("A layer is a list of operators"))
    model, grouped = made(), made(latent=False)
    moe = model.moe
    assert moe is not None
    seen, prompt = given(weight), given(weight, decode=False)
    lists = [
        (decode, seen, attention(model, seen)),
        (prefill, prompt, attention(model, prompt)),
        (gqa, seen, attention(grouped, seen)),
        (mlp, seen, dense(model, seen)),
        (
            moe_table,
            seen,
            [
                *router(model, moe, seen.tokens),
                *shared(model, moe, seen.tokens, seen.precision),
                *experts(model, moe, seen.tokens, SPLIT, seen.precision),
            ],
        ),
        (fp4_table, seen, experts(model, moe, seen.tokens, SPLIT, Precision(dense="bf16", experts="fp4"))),
        (head_table, seen, [*joint(model, seen), *head(model, seen)]),
    ]
    for table, at, ops in lists:
        assert table[0] == ["step", "operator", "dimensions", "stage", "kernels"]
        assert list(listed(table, at, moe)) == of_code(list(ops))


def test_what_the_page_says_beside_the_tables() -> None:
    model, seen = made(), given("fp8")
    moe = model.moe
    assert moe is not None
    plain = {op.name: op.operator for op in attention(model.replace(attention=_without_rank(model)), seen)}
    assert (plain["q_proj"].n, plain["q_proj"].k) == (14 * (96 + 48), 1280) and plain["kv_a_proj"].n == 256 + 48  # type: ignore[attr-defined]
    soft = next(op.operator for op in router(made(scoring="softmax"), moe.replace(scoring="softmax"), 15) if op.name == "topk")
    assert soft == find("topk_softmax")(tokens=15, experts=32, top_k=6, renormalize=True)
    fused = next(iter(experts(model, moe, 15, SPLIT, Precision(dense="bf16", experts="bf16"))))
    assert fused.operator.name == "fused_moe" and fused.launches == 3
    alone = list(experts(model, moe, 15, Split(ep=1, local=32), Precision(dense="fp8", experts="fp8")))
    assert [op.operator.name for op in alone] == ["fp8_blockscale_fused_moe", "moe_sum_reduce"]
    prompt = given("fp8", decode=False)
    assert [op.operator.tokens for op in head(model, prompt) if op.name == "norm"] == [5 * 2]  # type: ignore[attr-defined]
    grouped = {op.name: op.launches for op in attention(made(latent=False), prompt)}
    assert grouped["attn"] == 1


def _without_rank(model: Architecture) -> Mla:
    assert isinstance(model.attention, Mla)
    return model.attention.replace(q_lora_rank=None)


def test_gpus_of_the_study_and_of_the_search_have_sheets() -> None:
    for name in ("h800", "h20", "a100", "l20", "l40s", "h100_sxm", "h200", "gb200"):
        assert gpu_named(name).link is not None
