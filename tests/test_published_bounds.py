"""Every published production row is in the shape files as published, and our bounds are the published ones where those hold."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from pytest_dsbench import published
from pytest_dsbench.hardware import named
from pytest_dsbench.report.score import published_lines
from pytest_dsbench.roofline import bound
from pytest_dsbench.shapes import Case, load
from pytest_dsbench.units import show_number, show_seconds, show_share

ROOT = Path(__file__).parent.parent
FACTS = ROOT.parent / "shared" / "facts"
if not FACTS.is_dir():
    pytest.skip("the published rows (shared/facts beside the checkout) are not here", allow_module_level=True)

Dims = dict[str, Any]
#: FLOP and bytes.
Amounts = tuple[float, float]
Formula = Callable[[Dims], Amounts]
#: Peak FLOP/s by dtype and bandwidth in B/s, as published for the two devices.
DEVICES = {
    "h20": ({"bf16": 148e12, "fp16": 148e12, "fp8_e4m3": 296e12, "fp32": 44e12}, 4.0e12),
    "xpu_a": ({"bf16": 232.65e12, "fp16": 232.65e12, "fp8_e4m3": 465.3e12, "fp32": 29.1e12}, 5.3e12),
}
#: Distinct pairs that the published draw of fused_moe made, and blocks that of moe_align_block_size filled, by row: read off the
#: published FLOP and bytes, from which nothing else is unknown.
PAIRS = [246, 524, 1264, 1924, 3724, 7871, 14389, 29596, 8, 18651, 32637, 63793, 123047, 199534, 357673]
PAIRS += [4054, 7947, 15916, 30658, 63732, 7699, 15324, 28841]
BLOCKS = {0: 8, 2: 128, 3: 128, 4: 186, 5: 292, 6: 573}


def up(size: int, block: int) -> int:
    return -(-size // block)


def _attention(d: Dims) -> Amounts:
    lens, wide = d["seq_lens"], d["num_heads"] * d["head_dim"]
    return 4 * sum(x * x for x in lens) * wide, 8 * sum(lens) * wide + 8 * (len(lens) + 1)


def _block_scaled(d: Dims) -> Amounts:
    m, n, k = d["m"], d["n"], d["k"]
    return 2 * m * n * k + 3 * m * n * k / 128 - m * n, m * k + n * k + 4 * m * k / 128 + 4 * n * k / 128**2 + 4 * m * n


def _conv(d: Dims) -> Amounts:
    t, c, w = d["token_count"], d["dim"], d["width"]
    return t * c * (2 * w + 4), 2 * c * (t + 2 * w) + 2 * t * c


def _delta_output(d: Dims) -> Amounts:
    t, hv, hq, dk, dv = (d[key] for key in ("token_count", "num_v_heads", "num_q_heads", "key_dim", "value_dim"))
    c, nt = 64, up(t, 64)
    flop = nt * hv * (2 * c * dk * dv + 2 * c * c * (dk + dv) + 3 * c * dv + 2 * c * c)
    return flop, 4 * t * hq * dk + 4 * t * hv * dv + 2 * nt * hv * dk * dv + 4 * t * hv


def _delta_state(d: Dims) -> Amounts:
    t, hv, hk, dk, dv = (d[key] for key in ("token_count", "num_v_heads", "num_k_heads", "key_dim", "value_dim"))
    nt, b = up(t, 64), d["batch_size"]
    flop = 4 * t * hv * dk * dv + 2 * t * hv * dv + t * hv + 2 * nt * hv * dk * dv
    read = 2 * t * (hk * dk + hv * dk + hv * dv) + 4 * t * hv + 4 * b * hv * dk * dv + 4 * b
    return flop, read + 2 * nt * hv * dk * dv + 2 * t * hv * dv + 4 * b * hv * dk * dv


def _fp8_moe(d: Dims) -> Amounts:
    t, h, e, i, k = (d[key] for key in ("token_count", "hidden_size", "num_experts", "intermediate_size", "top_k"))
    a = math.ceil(e * (1 - (1 - k / e) ** t))
    size = t * h + 4 * t * h / 128 + 8 * t * k + a * (3 * h * i + 12 * h * i / 128**2) + t * h
    return t * k * (6 * h * i + 5 * i + 2 * h) + 3 * a * h * i, size


def _moe(d: Dims, row: int) -> Amounts:
    t, h, e, i, k = (d[key] for key in ("token_count", "hidden_size", "num_experts", "intermediate_size", "top_k"))
    a = e * (1 - (1 - k / e) ** t)
    flop = PAIRS[row] * (6 * h * i + 5 * i + h) + a * t * (2 * k - 1)
    return flop, 2 * t * h + 8 * t * k + 6 * a * h * i + 4 * t * h


def _delta_update(d: Dims) -> Amounts:
    t, hv, hq, dk, dv = (d[key] for key in ("token_count", "num_v_heads", "num_q_heads", "key_dim", "value_dim"))
    pool = 4 * d["state_count"] * hv * dk * dv
    return t * hv * (7 * dk * dv + 3 * dk + 2), 6 * hv + 4 * t * hv + 4 * t * hq * dk + 4 * t * hv * dv + 2 * pool + 4


def _linear(d: Dims) -> Amounts:
    t, k, n = d["token_count"], d["hidden_size"], d["out_features"]
    return 2 * t * k * n + t * n, 2 * (t * k + n * k + n + t * n) + 2 * t * n


def _mla(d: Dims) -> Amounts:
    b, h, length = d["batch_size"], d["nhead"], d["ctx_len"]
    return 2 * b * h * length * (576 + 512) + 576 * b * h * (length + 1), 2176 * b * h + 1152 * b * length + 4 * b


def _align(d: Dims, row: int) -> Amounts:
    return 0, 4 * d["token_count"] * d["top_k"] + 4 * BLOCKS[row] * (d["block_size"] + 1) + 4


def _mrope(d: Dims) -> Amounts:
    t, heads, r = d["token_count"], d["num_query_heads"] + d["num_kv_heads"], d["rotary_dim"]
    return 3 * t * heads * r, 4 * t * heads * d["head_size"] + 12 * t * r


def _paged(d: Dims) -> Amounts:
    b, length, hq, hk, size = (d[key] for key in ("num_seqs", "ctx_len", "num_query_heads", "num_kv_heads", "head_size"))
    pages = b * up(length, 16)
    flop = 4 * b * hq * length * size + 2 * b * length
    return flop, 4 * b * hq * size + 4 * (pages + 16) * hk * size * 16 + 4 * pages + 4 * b


def _unified(d: Dims) -> Amounts:
    lens, hq, hk, size = (d[key] for key in ("seq_lens", "num_query_heads", "num_kv_heads", "head_size"))
    tables = 4 * (2 * len(lens) + 1) + 4 * sum(up(x, 16) for x in lens)
    return 4 * sum(x * (x + 1) // 2 for x in lens) * hq * size, 4 * sum(lens) * (hq + hk) * size + tables


def _reshape(d: Dims) -> Amounts:
    t, wide = d["shape"][0], d["shape"][1] * d["shape"][2]
    return 0, 4 * t * wide + 8 * up(t, 16) * 16 * wide + 8 * t


def _qk_norm(d: Dims) -> Amounts:
    t, hq, hk, size = (d[key] for key in ("num_tokens", "head_num", "kv_head_num", "size_per_head"))
    return t * (hq + hk) * (3 * size + 1), 4 * t * (hq + 2 * hk) * size + 4 * size


def _qkv_rope(d: Dims) -> Amounts:
    t, hq, hk, r = (d[key] for key in ("total_tokens", "num_heads", "num_kv_heads", "rope_dim"))
    return 3 * t * (hq + hk) * r + t * r / 2 + r, 4 * t * (hq + 2 * hk) * d["head_dim"] + 4 * t


def _rows_of(tokens: str, flop: Callable[[int, int], float], size: Callable[[int, int], float]) -> Formula:
    """Of an operator whose rows of hidden_size stand alone."""
    return lambda d: (flop(d[tokens], d["hidden_size"]), size(d[tokens], d["hidden_size"]))


#: Published FLOP, billed at the peak of the operator's dtype, and bytes. Source: Atrex-Bench, see NOTICE.
FORMULAS: dict[str, Formula] = {
    "attention_forward": _attention,
    "block_scaled_mm": _block_scaled,
    "causal_conv1d": _conv,
    "chunk_delta_rule_output": _delta_output,
    "chunk_gated_delta_rule_state": _delta_state,
    "fp8_blockscale_fused_moe": _fp8_moe,
    "fp8_dynamic_per_token_quant": _rows_of("token_count", lambda t, h: t * (h + 1), lambda t, h: 3 * t * h + 4 * t),
    "fused_add_rms_norm": _rows_of("token_count", lambda t, h: t * (4 * h + 1), lambda t, h: 8 * t * h + 2 * h),
    "fused_qk_rmsnorm": _qk_norm,
    "fused_qkv_rope": _qkv_rope,
    "fused_rmsnorm_quant": _rows_of("token_count", lambda t, h: t * (5 * h + 2), lambda t, h: 7 * t * h + 2 * h + 4 * t),
    "gated_delta_rule_update": _delta_update,
    "gated_rms_norm": _rows_of("rows", lambda t, h: t * (8 * h + 1), lambda t, h: 6 * t * h + 2 * h),
    "l2_norm": _rows_of("num_tokens", lambda t, h: 3 * t * h, lambda t, h: 4 * t * h),
    "layer_norm": lambda d: (7 * d["shape"][0] * d["shape"][-1], 4 * (d["shape"][0] + 1) * d["shape"][-1]),
    "linear_sigmoid_mul": _linear,
    "mla_decode_attention": _mla,
    "moe_count_and_sort": lambda d: (0, 8 * d["token_count"] * d["top_k"] + 8 * d["num_experts"] + 4),
    "moe_sum_reduce": _rows_of("token_count", lambda t, h: 8 * t * h, lambda t, h: 18 * t * h),
    "moe_topk_gating_softmax": lambda d: (
        d["token_count"] * (4 * d["num_experts"] - 1),
        4 * d["token_count"] * d["num_experts"] + 8 * d["token_count"] * d["top_k"],
    ),
    "mrope": _mrope,
    "paged_attention_decode": _paged,
    "per_token_group_quant_fp8": _rows_of("token_count", lambda t, h: t * h + t * h / 128, lambda t, h: 3 * t * h + t * h / 32),
    "reshape_and_cache": _reshape,
    "rms_norm": _rows_of("token_count", lambda t, h: t * (3 * h + 1), lambda t, h: 4 * t * h + 2 * h),
    "silu_and_mul": lambda d: (5 * d["shape"][0] * d["shape"][1] // 2, 3 * d["shape"][0] * d["shape"][1]),
    "topk_filter": _rows_of("seq_len", lambda t, v: 0, lambda t, v: 8 * t * v),
    "unified_attention": _unified,
}
#: Those whose figures also depend on what was drawn at random once, by row.
DRAWN = {"fused_moe": _moe, "moe_align_block_size": _align}
#: Where ours is another bound: the least and the largest published / ours over all rows, on either device.
OTHERS = {
    "block_scaled_mm": (1.011, 1.012),
    "chunk_delta_rule_output": (1.17, 1.40),
    "chunk_gated_delta_rule_state": (1.0, 1.012),
    "fp8_blockscale_fused_moe": (0.99, 1.01),
    "fused_moe": (0.91, 1.01),
    "fused_qk_rmsnorm": (1.10, 1.20),
    "gated_delta_rule_update": (1.17, 2.0),
    "mla_decode_attention": (1.0, 1.27),
    "moe_align_block_size": (0.98, 1.02),
    "mrope": (1.09, 1.12),
    "paged_attention_decode": (1.01, 2.95),
    "reshape_and_cache": (1.49, 16.5),
}


def named_as(**names: str) -> Callable[[Dims], Dims]:
    """Our dimensions by the published names of theirs; a published list is a tuple here."""
    return lambda d: {ours: tuple(d[name]) if isinstance(d[name], list) else d[name] for ours, name in names.items()}


#: What our dimensions are called there.
NAMES: dict[str, Callable[[Dims], Dims]] = {
    "attention_forward": named_as(heads="num_heads", head_dim="head_dim", seq_lens="seq_lens"),
    "block_scaled_mm": lambda d: d,
    "causal_conv1d": named_as(tokens="token_count", channels="dim", width="width"),
    "chunk_delta_rule_output": named_as(
        tokens="token_count",
        q_heads="num_q_heads",
        v_heads="num_v_heads",
        key_dim="key_dim",
        value_dim="value_dim",
        batch="batch_size",
        chunk="chunk_size",
    ),
    "chunk_gated_delta_rule_state": named_as(
        tokens="token_count",
        k_heads="num_k_heads",
        v_heads="num_v_heads",
        key_dim="key_dim",
        value_dim="value_dim",
        batch="batch_size",
        chunk="chunk_size",
        states="state_count",
    ),
    "fp8_blockscale_fused_moe": named_as(
        tokens="token_count", hidden="hidden_size", experts="num_experts", intermediate="intermediate_size", top_k="top_k"
    ),
    "fp8_dynamic_per_token_quant": named_as(tokens="token_count", hidden="hidden_size"),
    "fused_add_rms_norm": named_as(tokens="token_count", hidden="hidden_size", eps="eps"),
    "fused_moe": named_as(
        tokens="token_count", hidden="hidden_size", experts="num_experts", intermediate="intermediate_size", top_k="top_k"
    ),
    "fused_qk_rmsnorm": named_as(tokens="num_tokens", q_heads="head_num", kv_heads="kv_head_num", head_dim="size_per_head"),
    "fused_qkv_rope": named_as(
        tokens="total_tokens", q_heads="num_heads", kv_heads="num_kv_heads", head_dim="head_dim", rope_dim="rope_dim"
    ),
    "fused_rmsnorm_quant": named_as(tokens="token_count", hidden="hidden_size"),
    "gated_delta_rule_update": named_as(
        tokens="token_count",
        q_heads="num_q_heads",
        v_heads="num_v_heads",
        key_dim="key_dim",
        value_dim="value_dim",
        batch="batch_size",
        states="state_count",
    ),
    "gated_rms_norm": named_as(rows="rows", hidden="hidden_size", eps="eps"),
    "l2_norm": named_as(tokens="num_tokens", hidden="hidden_size"),
    "layer_norm": lambda d: {"tokens": d["shape"][0], "hidden": d["shape"][-1], "eps": 1e-5},
    "linear_sigmoid_mul": named_as(tokens="token_count", hidden="hidden_size", features="out_features"),
    "mla_decode_attention": lambda d: {
        "heads": d["nhead"],
        "kv_lora_rank": d["kv_lora_rank"],
        "rope_dim": d["qk_rope_head_dim"],
        "kv_lens": (d["ctx_len"],) * d["batch_size"],
    },
    "moe_align_block_size": named_as(tokens="token_count", experts="num_experts", top_k="top_k", block_size="block_size"),
    "moe_count_and_sort": named_as(tokens="token_count", experts="num_experts", top_k="top_k"),
    "moe_sum_reduce": named_as(tokens="token_count", top_k="top_k", hidden="hidden_size", scale="routed_scaling_factor"),
    "moe_topk_gating_softmax": named_as(tokens="token_count", experts="num_experts", top_k="top_k"),
    "mrope": named_as(
        tokens="token_count", q_heads="num_query_heads", kv_heads="num_kv_heads", head_dim="head_size", sections="mrope_section"
    ),
    "paged_attention_decode": lambda d: {
        "q_heads": d["num_query_heads"],
        "kv_heads": d["num_kv_heads"],
        "head_dim": d["head_size"],
        "kv_lens": (d["ctx_len"],) * d["num_seqs"],
        "page_size": d["block_size"],
        "layout": "packed",
    },
    "per_token_group_quant_fp8": named_as(tokens="token_count", hidden="hidden_size", group="group_size"),
    "reshape_and_cache": lambda d: {
        "tokens": d["shape"][0],
        "heads": d["shape"][1],
        "head_dim": d["shape"][2],
        "page_size": d["block_size"],
    },
    "rms_norm": named_as(tokens="token_count", hidden="hidden_size", eps="eps"),
    "silu_and_mul": lambda d: {"tokens": d["shape"][0], "hidden": d["shape"][1] // 2},
    "topk_filter": lambda d: {"tokens": d["seq_len"], "vocab": d["hidden_size"], "top_k": d.get("top_k", 50)},
    "unified_attention": named_as(
        q_heads="num_query_heads", kv_heads="num_kv_heads", head_dim="head_size", q_lens="seq_lens", page_size="block_size"
    ),
}
PUBLISHED = {row["operator"]: row for row in json.loads((FACTS / "production_operators.json").read_text())}
ROWS = [json.loads(line) for line in (FACTS / "production_shapes.jsonl").read_text().splitlines()]
CASES = load([ROOT / "shapes"]).cases
OURS = {(case.op.name, case.provenance.id): case for case in CASES if case.provenance.id is not None}

each_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['operator']}-{row['shape']}")


def ours(row: dict[str, Any]) -> Case:
    return OURS[row["operator"], row["shape"]]


def published_amounts(row: dict[str, Any]) -> Amounts:
    name, dims = row["operator"], row["dims"]
    return DRAWN[name](dims, row["shape"]) if name in DRAWN else FORMULAS[name](dims)


def published_seconds(row: dict[str, Any], device: str) -> float:
    flop, size = published_amounts(row)
    peaks, bandwidth = DEVICES[device]
    # Integer operators have no FLOP to bill.
    return max(flop / peaks[PUBLISHED[row["operator"]]["dtype"]] if flop else 0.0, size / bandwidth)


def test_all_rows_and_no_others() -> None:
    assert len(ROWS) == sum(one["shapes"] for one in PUBLISHED.values()) == len(OURS) == 440
    assert set(OURS) == {(row["operator"], row["shape"]) for row in ROWS}
    assert {row["operator"] for row in ROWS} == FORMULAS.keys() | DRAWN.keys() == set(PUBLISHED)


@each_row
def test_rows_are_as_published(row: dict[str, Any]) -> None:
    case, dims = ours(row), NAMES[row["operator"]](row["dims"])
    assert {name: getattr(case.op, name) for name in dims} == dims
    given = row["dims"].get("dtype", "fp16" if PUBLISHED[row["operator"]]["dtype"] == "fp16" else "bf16")
    assert getattr(case.op, "dtype", given) == given
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
    ratio = published_seconds(row, device) / mine
    if row["operator"] in OTHERS:
        least, largest = OTHERS[row["operator"]]
        assert least <= ratio <= largest
    else:
        assert ratio == pytest.approx(1, rel=1e-9)


@pytest.mark.parametrize("device", DEVICES)
@each_row
def test_published_work_is_what_was_published(row: dict[str, Any], device: str) -> None:
    mine = bound(published.work(ours(row)), named(device)).seconds
    assert mine == pytest.approx(published_seconds(row, device), rel=1e-9)


def test_every_recovered_row_mends_a_suspect_one() -> None:
    recovered = [case for case in CASES if "recovered" in case.tags]
    assert len(recovered) == len({(case.op.name, case.provenance.recovers) for case in recovered}) == 26
    for case in recovered:
        assert "suspect" in OURS[case.op.name, case.provenance.recovers].tags and case.provenance.note
        assert case.provenance.production_us is None, "the published time was measured at the other size"
    grids = [row for row in ROWS if "true" in row.get("suspect", {}).get("note", "")]
    grids = [row for row in grids if "unknown" not in row["suspect"]["note"]]
    assert {(row["operator"], row["shape"]) for row in grids} == {(c.op.name, c.provenance.recovers) for c in recovered}


def test_added_rows_say_why() -> None:
    added = [case for case in CASES if "added" in case.tags]
    assert len({case.op.name for case in added}) >= 5
    assert all(case.provenance.note and case.provenance.id is None for case in added)


def test_the_published_score_is_the_published_one() -> None:
    efficiencies: dict[str, list[float]] = {}
    for row in ROWS:
        share = published_seconds(row, "xpu_a") / (row["measured"]["us"] * 1e-6)
        efficiencies.setdefault(row["operator"], []).append(share)
    raw = sum(one["importance"] * median(efficiencies[name]) for name, one in PUBLISHED.items())
    total = sum(one["importance"] for one in PUBLISHED.values())
    assert (f"{100 * raw:.2f} %", f"{100 * raw / total:.2f} %", f"{total:.5f}") == ("14.28 %", "13.04 %", "1.09478")
    lines = published_lines(CASES, measured=named("xpu_a"), other=named("h20"))
    says = "score, published: 14.28 % raw, 13.04 % normalised; 30 of 30 operators, importance 1.09478 of 1.09478"
    assert says in lines
    assert any(line.startswith("43 of 440 rows take less than 8.00 us") for line in lines)


def test_the_rows_of_the_published_table() -> None:
    lines = published_lines(CASES, measured=named("xpu_a"), other=named("h20"))
    table = {line.split()[0]: " ".join(line.split()) for line in lines[2:32]}
    assert list(table) == sorted(PUBLISHED, key=lambda name: -PUBLISHED[name]["importance"])
    for name, known in PUBLISHED.items():
        rows = sorted((row for row in ROWS if row["operator"] == name), key=lambda row: row["shape"])
        middle = rows[len(rows) // 2]
        flop, size = published_amounts(middle)
        h20, xpu = (published_seconds(middle, device) for device in ("h20", "xpu_a"))
        regime = "compute" if xpu > size / DEVICES["xpu_a"][1] * (1 + 1e-9) else "memory"
        us = [published_seconds(row, "xpu_a") / (row["measured"]["us"] * 1e-6) for row in rows]
        cells = [name, f"{len(rows)}", f"{known['importance']:.6f}", regime, show_number(flop / size)]
        cells += [show_seconds(h20), show_seconds(xpu), show_seconds(middle["measured"]["us"] * 1e-6), show_share(median(us))]
        assert table[name] == " ".join(cells)


def test_the_notice_names_the_source() -> None:
    notice = (ROOT / "NOTICE").read_text()
    for words in ("Atrex-Bench", "Copyright 2026 Alibaba Group", "Apache License", "software developed at Alibaba Group"):
        assert words in notice
