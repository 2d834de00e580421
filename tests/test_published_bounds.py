"""Every published production row is in the shape files as published, and our bounds are the published ones where those hold."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_dsbench.hardware import named
from pytest_dsbench.roofline import bound
from pytest_dsbench.shapes import Case, load

ROOT = Path(__file__).parent.parent
FACTS = ROOT.parent / "shared" / "facts"
if not FACTS.is_dir():
    pytest.skip("the published rows (shared/facts beside the checkout) are not here", allow_module_level=True)

Dims = dict[str, Any]
#: Peak FLOP/s by dtype and bandwidth in B/s, as published for the two devices.
DEVICES = {
    "h20": ({"bf16": 148e12, "fp8_e4m3": 296e12, "fp32": 44e12}, 4.0e12),
    "xpu_a": ({"bf16": 232.65e12, "fp8_e4m3": 465.3e12, "fp32": 29.1e12}, 5.3e12),
}
#: Published FLOP, billed at the peak of the operator's dtype, and bytes. Source: Atrex-Bench, see NOTICE.
FORMULAS: dict[str, Callable[[Dims], tuple[float, float]]] = {
    "attention_forward": lambda d: (
        4 * sum(x * x for x in d["seq_lens"]) * d["num_heads"] * d["head_dim"],
        8 * sum(d["seq_lens"]) * d["num_heads"] * d["head_dim"] + 8 * (len(d["seq_lens"]) + 1),
    ),
    "block_scaled_mm": lambda d: (
        2 * d["m"] * d["n"] * d["k"] + 3 * d["m"] * d["n"] * d["k"] / 128 - d["m"] * d["n"],
        (d["m"] + d["n"]) * d["k"] + 4 * d["m"] * d["k"] / 128 + 4 * d["n"] * d["k"] / 128**2 + 4 * d["m"] * d["n"],
    ),
    "fp8_dynamic_per_token_quant": lambda d: (
        d["token_count"] * (d["hidden_size"] + 1),
        3 * d["token_count"] * d["hidden_size"] + 4 * d["token_count"],
    ),
    "fused_add_rms_norm": lambda d: (
        d["token_count"] * (4 * d["hidden_size"] + 1),
        8 * d["token_count"] * d["hidden_size"] + 2 * d["hidden_size"],
    ),
    "layer_norm": lambda d: (
        7 * d["shape"][0] * d["shape"][-1],
        4 * d["shape"][0] * d["shape"][-1] + 4 * d["shape"][-1],
    ),
    "moe_topk_gating_softmax": lambda d: (
        d["token_count"] * (4 * d["num_experts"] - 1),
        4 * d["token_count"] * d["num_experts"] + 8 * d["token_count"] * d["top_k"],
    ),
    "rms_norm": lambda d: (
        d["token_count"] * (3 * d["hidden_size"] + 1),
        4 * d["token_count"] * d["hidden_size"] + 2 * d["hidden_size"],
    ),
    "silu_and_mul": lambda d: (
        5 * d["shape"][0] * d["shape"][1] // 2,
        3 * d["shape"][0] * d["shape"][1],
    ),
}
#: What our dimensions are called there.
NAMES: dict[str, Callable[[Dims], Dims]] = {
    "attention_forward": lambda d: {"heads": d["num_heads"], "head_dim": d["head_dim"], "seq_lens": tuple(d["seq_lens"])},
    "block_scaled_mm": lambda d: d,
    "fp8_dynamic_per_token_quant": lambda d: {"tokens": d["token_count"], "hidden": d["hidden_size"]},
    "fused_add_rms_norm": lambda d: {"tokens": d["token_count"], "hidden": d["hidden_size"], "eps": d["eps"]},
    "layer_norm": lambda d: {"tokens": d["shape"][0], "hidden": d["shape"][-1], "eps": 1e-5},
    "moe_topk_gating_softmax": lambda d: {"tokens": d["token_count"], "experts": d["num_experts"], "top_k": d["top_k"]},
    "rms_norm": lambda d: {"tokens": d["token_count"], "hidden": d["hidden_size"], "eps": d["eps"]},
    "silu_and_mul": lambda d: {"tokens": d["shape"][0], "hidden": d["shape"][1] // 2},
}
PUBLISHED = {row["operator"]: row for row in json.loads((FACTS / "production_operators.json").read_text())}
ROWS = [
    row for row in map(json.loads, (FACTS / "production_shapes.jsonl").read_text().splitlines()) if row["operator"] in FORMULAS
]
OURS = {
    (case.op.name, case.provenance.id): case
    for case in load([ROOT / "shapes"]).cases
    if case.op.name in FORMULAS and case.provenance.id is not None
}

each_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['operator']}-{row['shape']}")


def ours(row: dict[str, Any]) -> Case:
    return OURS[row["operator"], row["shape"]]


def published_seconds(row: dict[str, Any], device: str) -> float:
    flop, size = FORMULAS[row["operator"]](row["dims"])
    peaks, bandwidth = DEVICES[device]
    return max(flop / peaks[PUBLISHED[row["operator"]]["dtype"]], size / bandwidth)


def test_all_rows_and_no_others() -> None:
    assert len(ROWS) == sum(PUBLISHED[name]["shapes"] for name in FORMULAS) == 200
    assert set(OURS) == {(row["operator"], row["shape"]) for row in ROWS}


@each_row
def test_rows_are_as_published(row: dict[str, Any]) -> None:
    case, dims = ours(row), NAMES[row["operator"]](row["dims"])
    assert {name: getattr(case.op, name) for name in dims} == dims
    assert getattr(case.op, "dtype", "bf16") == "bf16"
    known, tp = case.provenance, row["tp"]
    assert known.framework == row["source"]
    assert known.tp == (int(tp) if tp is not None and str(tp).isdigit() else tp)
    assert known.calls == row["calls"]
    assert known.trace_us == (None if row["trace_mean_us"] is None else pytest.approx(row["trace_mean_us"], abs=6e-4))
    assert known.production_us == row["measured"]["us"]
    assert known.library == row["measured"]["library"]
    assert case.production_on == row["measured"]["device"].lower().replace("-", "_")
    assert case.importance == PUBLISHED[row["operator"]]["importance"]
    assert ("suspect" in case.tags) == ("suspect" in row)
    assert known.note is not None or "suspect" not in row
    assert case.source is not None and "Atrex-Bench" in case.source


@pytest.mark.parametrize("device", DEVICES)
@each_row
def test_bounds_are_the_published_ones(row: dict[str, Any], device: str) -> None:
    mine = bound(ours(row).op.work(), named(device)).seconds
    published = published_seconds(row, device)
    if row["operator"] == "block_scaled_mm":
        # The published FLOP bill scaling the partial sums to the matrix unit, which does none of it.
        assert 1.011 <= published / mine <= 1.012
    else:
        assert mine == pytest.approx(published, rel=1e-9)


def test_the_notice_names_the_source() -> None:
    notice = (ROOT / "NOTICE").read_text()
    for words in ("Atrex-Bench", "Copyright 2026 Alibaba Group", "Apache License", "software developed at Alibaba Group"):
        assert words in notice
