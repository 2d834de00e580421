"""Attention over paged and latent caches, and writing a paged one: by hand, and what must come out the same in two ways."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from pytest_dsbench import providers
from pytest_dsbench.operator import Operator
from pytest_dsbench.operators import _attention, find
from pytest_dsbench.providers.torch_native import paged
from pytest_dsbench.tensors import make

BATCH = {"q_heads": 4, "kv_heads": 2, "head_dim": 8, "q_lens": [2, 1, 3], "kv_lens": [7, 9, 3], "page_size": 4}
DECODE = {"q_heads": 4, "kv_heads": 2, "head_dim": 16, "kv_lens": [7, 9], "page_size": 4}
Numbers = list[float]


def row(values: Tensor) -> Numbers:
    return [float(value) for value in values.double()]


def mixed(query: Numbers, keys: list[Numbers], values: list[Numbers]) -> Numbers:
    """Attention of one query: keys and values one list per token."""
    scores = [sum(a * b for a, b in zip(query, key, strict=True)) / math.sqrt(len(query)) for key in keys]
    total = sum(math.exp(score) for score in scores)
    shares = [math.exp(score) / total for score in scores]
    return [sum(share * value[d] for share, value in zip(shares, values, strict=True)) for d in range(len(values[0]))]


def test_unified_attention_by_hand() -> None:
    op = find("unified_attention").build(BATCH)
    inputs = make(op, "cpu")
    table = inputs["block_table"].tolist()
    out = op.reference(**inputs)
    assert inputs["cu_seqlens_q"].tolist() == [0, 2, 3, 6] and inputs["kv_lens"].tolist() == [7, 9, 3]
    # Sequence, row of q, and the keys that this query sees: of the last two of 7 tokens, the first sees 6.
    for sequence, token, seen in ((0, 0, 6), (0, 1, 7), (1, 2, 9), (2, 3, 1), (2, 4, 2), (2, 5, 3)):
        places = [(table[sequence][key // 4], key % 4) for key in range(seen)]
        for head in range(4):
            keys, values = (
                [row(inputs[cache][page, offset, head // 2]) for page, offset in places] for cache in ("k_cache", "v_cache")
            )
            right = mixed(row(inputs["q"][token, head]), keys, values)
            assert row(out[token, head]) == pytest.approx(right, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize(("dtype", "x"), [("bf16", 8), ("fp32", 4)])
@pytest.mark.parametrize("layout", ["packed", "nhd"])
def test_paged_attention_decode_by_hand(layout: str, dtype: str, x: int) -> None:
    op = find("paged_attention_decode").build({**DECODE, "layout": layout, "dtype": dtype})
    inputs = make(op, "cpu")
    k_cache, v_cache, table = inputs["k_cache"], inputs["v_cache"], inputs["block_tables"].tolist()
    out = op.reference(**inputs)
    for sequence, length in ((0, 7), (1, 9)):
        places = [(table[sequence][key // 4], key % 4) for key in range(length)]
        for head in range(4):
            if layout == "packed":
                keys = [[float(k_cache[page, head // 2, d // x, at, d % x]) for d in range(16)] for page, at in places]
                values = [[float(v_cache[page, head // 2, d, at]) for d in range(16)] for page, at in places]
            else:
                keys = [row(k_cache[page, at, head // 2]) for page, at in places]
                values = [row(v_cache[page, at, head // 2]) for page, at in places]
            right = mixed(row(inputs["query"][sequence, head]), keys, values)
            assert row(out[sequence, head]) == pytest.approx(right, rel=1e-5, abs=1e-6)


def test_mla_decode_attention_by_hand() -> None:
    op = find("mla_decode_attention").build({"heads": 3, "kv_lens": [4, 6], "kv_lora_rank": 10, "rope_dim": 3})
    inputs = make(op, "cpu")
    out = op.reference(**inputs)
    for sequence, tokens in ((0, range(4)), (1, range(4, 10))):
        keys = [row(inputs["kv_cache"][token, 0]) for token in tokens]
        for head in range(3):
            right = mixed(row(inputs["q"][sequence, head]), keys, [key[:10] for key in keys])
            assert row(out[sequence, head]) == pytest.approx(right, rel=1e-5, abs=1e-6)


def test_reshape_and_cache_by_hand() -> None:
    op = find("reshape_and_cache").build({"tokens": 7, "heads": 2, "head_dim": 3, "page_size": 4})
    inputs = make(op, "cpu")
    slots = inputs["slot_mapping"].tolist()
    assert len(set(slots)) == 7 and max(slots) < 16 and slots != sorted(slots)
    for cache, new in zip(op.reference(**inputs), ("key", "value"), strict=True):
        assert cache.shape == (4, 4, 2, 3)
        for slot in range(16):
            right = inputs[new][slots.index(slot)] if slot in slots else inputs[f"{new}_cache"][slot // 4, slot % 4]
            assert torch.equal(cache[slot // 4, slot % 4], right)


def test_a_batch_of_single_queries_is_a_decode() -> None:
    op = find("paged_attention_decode").build({**DECODE, "layout": "nhd"})
    inputs = make(op, "cpu")
    given = {key: inputs[key] for key in ("k_cache", "v_cache")}
    one = find("unified_attention").build({**DECODE, "q_lens": [1, 1]})
    bounds = torch.tensor([0, 1, 2], dtype=torch.int32)
    out = one.reference(
        q=inputs["query"], **given, cu_seqlens_q=bounds, kv_lens=inputs["seq_lens"], block_table=inputs["block_tables"]
    )
    assert torch.equal(out, op.reference(**inputs))


def test_chunks_of_a_prefill_are_the_prefill() -> None:
    whole = find("unified_attention").build({**BATCH, "q_lens": [23], "kv_lens": []})
    inputs = make(whole, "cpu")
    right = whole.reference(**inputs)
    for first, last in ((0, 5), (5, 14), (14, 23)):
        chunk = find("unified_attention").build({**BATCH, "q_lens": [last - first], "kv_lens": [last]})
        assert torch.allclose(chunk.reference(**{**inputs, "q": inputs["q"][first:last]}), right[first:last], atol=1e-6)


def test_without_the_mask_it_is_the_attention_of_an_encoder() -> None:
    op = find("unified_attention").build({**BATCH, "kv_heads": 4, "q_lens": [5, 9], "kv_lens": [], "causal": False})
    inputs = make(op, "cpu")
    k, v = (
        torch.cat(
            [inputs[cache][inputs["block_table"][number].long()].flatten(0, 1)[:length] for number, length in ((0, 5), (1, 9))]
        )
        for cache in ("k_cache", "v_cache")
    )
    encoder = find("attention_forward").build({"heads": 4, "head_dim": 8, "seq_lens": [5, 9]})
    bounds = inputs["cu_seqlens_q"]
    assert torch.allclose(encoder.reference(inputs["q"], k, v, bounds, bounds), op.reference(**inputs), atol=1e-6)


def test_pages_come_in_random_order_out_of_more_than_are_used() -> None:
    op = find("unified_attention").build({**BATCH, "q_lens": [1, 1, 1], "kv_lens": [100, 1, 33]})
    tables = [make(op, "cpu", content)["block_table"] for content in (0, 1)]
    pages = make(op, "cpu")["k_cache"].shape[0]
    assert pages > 25 + 1 + 9
    for table in tables:
        assert table.shape == (3, 25) and not table[1, 1:].any() and not table[2, 9:].any()
        owned = [*table[0].tolist(), int(table[1, 0]), *table[2, :9].tolist()]
        assert len(set(owned)) == 35 and owned != sorted(owned) and min(owned) >= 0 and max(owned) < pages
    assert not torch.equal(*tables)


@pytest.mark.parametrize(
    ("place", "off", "right"), [((0, 1, 3), 0.02, True), ((0, 1, 3), 0.04, False), ((700, 1, 3), 0.02, False)]
)
def test_a_query_of_few_keys_is_judged_on_its_own_scale(place: tuple[int, int, int], off: float, right: bool) -> None:
    want = torch.full((1000, 2, 4), 0.01)
    want[0] = 1.0
    got = want.clone()
    got[place] += off
    flaw = _attention.row_flaw(got, want)
    assert (flaw is None) == right
    assert right or str(flaw).startswith(f"out[{place[0]}, 1, 3] is {float(want[place]) + off:.5g} and the reference")
    got[place] = float("nan")
    assert _attention.row_flaw(got, want) is not None


SAMPLES: list[tuple[str, dict[str, Any]]] = [
    ("unified_attention", {**BATCH, "q_lens": [3, 1, 3, 3, 1], "kv_lens": [9, 5, 9, 9, 40]}),
    ("paged_attention_decode", {**DECODE, "kv_lens": [9, 5, 9, 9, 5]}),
    ("paged_attention_decode", {**DECODE, "kv_lens": [9, 5, 9, 9, 5], "layout": "nhd"}),
    ("mla_decode_attention", {"heads": 3, "kv_lens": [9, 9, 5, 9], "kv_lora_rank": 10, "rope_dim": 3}),
]


@pytest.mark.parametrize(("name", "dims"), SAMPLES)
def test_chunks_change_nothing(name: str, dims: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    op = find(name).build(dims)
    inputs = make(op, "cpu")
    whole = op.reference(**inputs)
    monkeypatch.setattr(_attention, "_CHUNK", 60)
    assert torch.allclose(op.reference(**inputs), whole, atol=1e-6)


def launch_of(op: Operator, inputs: dict[str, Tensor]) -> Any:
    providers.load()
    return op.providers["torch"].prepare(op, **inputs)


@pytest.mark.parametrize(("name", "dims"), SAMPLES)
def test_a_batch_may_be_gathered_in_pieces(name: str, dims: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    op = find(name).build(dims)
    inputs = make(op, "cpu")
    whole = launch_of(op, inputs)()
    monkeypatch.setitem(paged._MOST_GATHERED, "cpu", 300)
    assert torch.allclose(launch_of(op, inputs)().float(), whole.float(), atol=2e-2)


@pytest.mark.parametrize(("name", "dims"), [*SAMPLES, ("reshape_and_cache", {"tokens": 7, "heads": 2, "head_dim": 3})])
def test_a_launch_reads_pages_and_slots_anew(name: str, dims: dict[str, Any]) -> None:
    op = find(name).build(dims)
    inputs, others = make(op, "cpu"), make(op, "cpu", 1)
    launch = launch_of(op, inputs)
    right = op.reference(**others)
    for key, value in inputs.items():
        value.copy_(others[key])
    out = launch()
    for got, want in zip(out, right, strict=True) if isinstance(out, tuple) else [(out, right)]:
        assert torch.allclose(got.float(), want.float(), atol=3e-2)
