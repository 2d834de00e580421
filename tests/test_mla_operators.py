"""DeepSeek's latent attention: by hand, absorbed and not, and what prepares its queries and keys against other ways to do it."""

import cmath
import math
from typing import Any

import pytest
import torch
from samples import MATRIX, NEEDED, SMALL
from torch import Tensor

from pytest_dsbench import providers
from pytest_dsbench.check import Wrong, compare
from pytest_dsbench.operator import Operator
from pytest_dsbench.operators import find
from pytest_dsbench.providers import flashinfer
from pytest_dsbench.providers.sgl_kernel import mla as cutlass
from pytest_dsbench.providers.torch_native import paged
from pytest_dsbench.tensors import make

OURS = ("paged_mla_decode", "mla_ragged_prefill", "mla_rope_quantize_fp8", "rope_inplace", "concat_mla_k")
LATENT = {"kv_lora_rank": 10, "rope_dim": 4, "nope_dim": 6}
DECODE = {"heads": 3, "kv_lens": [7, 9, 3], "page_size": 4, **LATENT}
PREFILL = {"heads": 2, "q_lens": [2, 1, 3], "kv_lens": [5, 9, 3], "nope_dim": 6, "rope_dim": 4, "v_dim": 5}
ROPE = {"tokens": 5, "q_heads": 3, "head_dim": 8}
Numbers = list[float]


def small(name: str, dims: dict[str, Any]) -> Any:
    return find(name).build(dims)


def row(values: Tensor) -> Numbers:
    return [float(value) for value in values.double()]


def mixed(query: Numbers, keys: list[Numbers], values: list[Numbers], scale: float) -> Numbers:
    """Attention of one query: keys and values one list per token."""
    scores = [scale * sum(a * b for a, b in zip(query, key, strict=True)) for key in keys]
    total = sum(math.exp(score) for score in scores)
    shares = [math.exp(score) / total for score in scores]
    return [sum(share * value[d] for share, value in zip(shares, values, strict=True)) for d in range(len(values[0]))]


def launched(op: Operator, inputs: dict[str, Tensor]) -> Any:
    providers.load()
    return op.providers["torch"].prepare(op, **inputs)()


@pytest.mark.parametrize(("name", "dims"), [one for one in SMALL if one[0] in OURS])
def test_work_is_counted_from_the_tensors(name: str, dims: dict[str, Any]) -> None:
    op = small(name, dims)
    work, inputs = op.work(), make(op, "meta")
    sizes = (
        sum(value.numel() * value.itemsize for value in inputs.values()),
        sum(spec.nbytes for spec in op.outputs().values()),
    )
    assert (NEEDED[name](op, inputs) if name in NEEDED else sizes) == (work.read, work.written)
    assert sum(count for unit, count in work.flop.items() if unit != "fp32") == (MATRIX[name](op) if name in MATRIX else 0)
    assert work.written == sizes[1]


@pytest.mark.parametrize("q_len", [1, 3])
def test_paged_mla_decode_by_hand(q_len: int) -> None:
    op = small("paged_mla_decode", {**DECODE, "q_len": q_len})
    inputs = make(op, "cpu")
    out, table = op.reference(**inputs), inputs["block_tables"].tolist()
    for sequence, length in enumerate((7, 9, 3)):
        keys = [row(inputs["kv_cache"][table[sequence][key // 4], key % 4]) for key in range(length)]
        for query in range(q_len):
            seen = keys[: length - q_len + 1 + query]
            for head in range(3):
                right = mixed(row(inputs["query"][sequence, query, head]), seen, [key[:10] for key in seen], 10**-0.5)
                assert row(out[sequence, query, head]) == pytest.approx(right, rel=1e-5, abs=1e-6)


def test_pages_lie_anywhere_and_rows_of_the_table_are_whole() -> None:
    for size, width in ((64, 4), (32, 8), (16, 16), (128, 2), (1, 256), (48, 8), (256, 1)):
        op = small("paged_mla_decode", {"heads": 1, "kv_lens": [130, 1, 129], "page_size": size, **LATENT})
        inputs = make(op, "cpu")
        table = inputs["block_tables"]
        assert table.shape == (3, width) and table.dtype == torch.int32 and width * size % 128 == 0
        pages = [-(-length // size) for length in op.kv_lens]
        owned = [page for number, count in enumerate(pages) for page in table[number, :count].tolist()]
        assert len(set(owned)) == sum(pages) and max(owned) < len(inputs["kv_cache"])
        # What is not used names a page that exists, and that holds other keys.
        assert all(not table[number, count:].any() for number, count in enumerate(pages))
        assert len(inputs["kv_cache"]) > sum(pages)
    owned = make(small("paged_mla_decode", {**DECODE, "kv_lens": [100]}), "cpu")["block_tables"][0, :25].tolist()
    assert owned != sorted(owned)


def test_pages_change_nothing() -> None:
    """The contiguous operator, whose scale is that of the cache's columns."""
    op = small("paged_mla_decode", DECODE)
    inputs = make(op, "cpu")
    latent = torch.cat(
        [
            inputs["kv_cache"][inputs["block_tables"][number].long()].flatten(0, 1)[:length]
            for number, length in enumerate(op.kv_lens)
        ]
    )
    dense = small("mla_decode_attention", {"heads": 3, "kv_lens": [7, 9, 3], "kv_lora_rank": 10, "rope_dim": 4})
    query = inputs["query"][:, 0].float() * (14 / 10) ** 0.5
    right = dense.reference(query, latent[:, None], inputs["seq_lens"])
    assert torch.allclose(op.reference(**inputs)[:, 0], right, atol=1e-6)


def test_several_queries_are_so_many_decodes() -> None:
    op = small("paged_mla_decode", {**DECODE, "q_len": 3})
    inputs = make(op, "cpu")
    out = op.reference(**inputs)
    for query in range(3):
        shorter = small("paged_mla_decode", {**DECODE, "kv_lens": [length - 2 + query for length in (7, 9, 3)]})
        right = shorter.reference(**{**inputs, "query": inputs["query"][:, query : query + 1]})
        assert torch.allclose(out[:, query : query + 1], right, atol=1e-6)


@pytest.mark.parametrize("q_len", [1, 3])
def test_absorbed_is_expanded(q_len: int) -> None:
    """Queries through W_kc over the latent cache, then W_vc, are attention over keys and values expanded from it."""
    generator = torch.Generator().manual_seed(3)
    heads, rank, nope, rope, v_dim = 3, 10, 6, 4, 5
    w_kc, w_vc = (torch.randn(heads, rank, columns, generator=generator) * rank**-0.5 for columns in (nope, v_dim))
    decode = small("paged_mla_decode", {**DECODE, "q_len": q_len})
    inputs = make(decode, "cpu")
    q = torch.randn(3 * q_len, heads, nope + rope, generator=generator)
    absorbed = torch.cat([torch.einsum("thn,hrn->thr", q[..., :nope], w_kc), q[..., nope:]], -1)
    inputs["query"] = absorbed.view(3, q_len, heads, rank + rope)
    got = torch.einsum("bqhr,hrv->bqhv", decode.reference(**inputs), w_vc).flatten(0, 1)

    latent = torch.cat(
        [
            inputs["kv_cache"][inputs["block_tables"][number].long()].flatten(0, 1)[:length].float()
            for number, length in enumerate(decode.kv_lens)
        ]
    )
    shared = latent[:, None, rank:].expand(-1, heads, -1)
    key = torch.cat([torch.einsum("tr,hrn->thn", latent[:, :rank], w_kc), shared], -1)
    value = torch.einsum("tr,hrv->thv", latent[:, :rank], w_vc)
    prefill = small("mla_ragged_prefill", {**PREFILL, "heads": 3, "q_lens": [q_len] * 3, "kv_lens": [7, 9, 3]})
    bounds = [torch.tensor(bounds, dtype=torch.int32) for bounds in (prefill.bounds, prefill.key_bounds)]
    assert torch.allclose(got, prefill.reference(q, key, value, *bounds), atol=1e-5)
    # The scale is that of the expanded columns, of which the latent ones do not know.
    other = decode.replace(nope_dim=rank)
    wrong = torch.einsum("bqhr,hrv->bqhv", other.reference(**inputs), w_vc).flatten(0, 1)
    assert not torch.allclose(wrong, got, atol=1e-2)


@pytest.mark.parametrize("causal", [True, False])
def test_mla_ragged_prefill_by_hand(causal: bool) -> None:
    op = small("mla_ragged_prefill", {**PREFILL, "causal": causal})
    inputs = make(op, "cpu")
    out = op.reference(**inputs)
    assert inputs["cu_seqlens_q"].tolist() == [0, 2, 3, 6] and inputs["cu_seqlens_kv"].tolist() == [0, 5, 14, 17]
    # Row of the queries, and the keys of its sequence; causal, a query sees as many as come before the last queries, and its own.
    for token, keys, ahead in (
        (0, (0, 5), 1),
        (1, (0, 5), 0),
        (2, (5, 14), 0),
        (3, (14, 17), 2),
        (4, (14, 17), 1),
        (5, (14, 17), 0),
    ):
        seen = range(keys[0], keys[1] - ahead * causal)
        for head in range(2):
            some, values = ([row(inputs[name][key, head]) for key in seen] for name in ("key", "value"))
            right = mixed(row(inputs["query"][token, head]), some, values, 10**-0.5)
            assert row(out[token, head]) == pytest.approx(right, rel=1e-5, abs=1e-6)


def test_chunks_of_a_prefill_are_the_prefill() -> None:
    whole = small("mla_ragged_prefill", {**PREFILL, "q_lens": [23], "kv_lens": []})
    inputs = make(whole, "cpu")
    right = whole.reference(**inputs)
    for first, last in ((0, 5), (5, 14), (14, 23)):
        chunk = small("mla_ragged_prefill", {**PREFILL, "q_lens": [last - first], "kv_lens": [last]})
        some = {name: inputs[name][:last] for name in ("key", "value")}
        assert torch.allclose(
            chunk.reference(**{**inputs, **some, "query": inputs["query"][first:last]}), right[first:last], atol=1e-6
        )


SAMPLES: list[tuple[str, dict[str, Any]]] = [
    ("paged_mla_decode", {**DECODE, "kv_lens": [9, 5, 9, 9, 5]}),
    ("paged_mla_decode", {**DECODE, "kv_lens": [9, 5, 9, 9, 5], "q_len": 2}),
    ("mla_ragged_prefill", PREFILL),
    ("mla_ragged_prefill", {**PREFILL, "causal": False}),
    ("mla_rope_quantize_fp8", {"tokens": 5, "heads": 2}),
    ("rope_inplace", ROPE),
    ("concat_mla_k", {"tokens": 5, "heads": 2}),
]


@pytest.mark.parametrize(("name", "dims"), SAMPLES)
def test_a_launch_reads_its_inputs_anew(name: str, dims: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """In pieces, too, where a batch is gathered."""
    providers.load()
    monkeypatch.setitem(paged._MOST_GATHERED, "cpu", 300)
    op = small(name, dims)
    inputs, others = make(op, "cpu"), make(op, "cpu", 1)
    launch = op.providers["torch"].prepare(op, **inputs)
    right = op.reference(**others)
    for key, value in inputs.items():
        value.copy_(others[key])
    out = launch()
    for got, want in zip(out, right, strict=True) if isinstance(out, tuple) else [(out, right)]:
        assert torch.allclose(got.float(), want.float(), atol=3e-2, rtol=0.13)


def test_the_table_holds_the_angles_of_every_position() -> None:
    op = small("rope_inplace", {**ROPE, "max_positions": 50})
    table = make(op, "cpu")["cos_sin_cache"]
    assert table.shape == (50, 8) and table.dtype == torch.float32
    for position in (0, 1, 49):
        angles = [position * 10000 ** (-2 * i / 8) for i in range(4)]
        right = [math.cos(angle) for angle in angles] + [math.sin(angle) for angle in angles]
        assert row(table[position]) == pytest.approx(right, rel=1e-6, abs=1e-7)


@pytest.mark.parametrize(("tokens", "different"), [(50, 50), (64, 64), (150, 64)])
def test_rows_of_the_table_are_named_as_evenly_as_can_be(tokens: int, different: int) -> None:
    op = small("rope_inplace", {**ROPE, "tokens": tokens, "max_positions": 64})
    first, second = (make(op, "cpu", content)["positions"] for content in (0, 1))
    assert first.dtype == torch.int64 and int(first.min()) >= 0 and int(first.max()) < 64
    assert len(set(first.tolist())) == different and first.tolist() not in (sorted(first.tolist()), second.tolist())
    assert op.work().read == tokens * 4 * 8 * 2 + tokens * 8 + different * 8 * 4


@pytest.mark.parametrize("neox", [False, True])
def test_rope_is_complex_multiplication(neox: bool) -> None:
    op = small("rope_inplace", {**ROPE, "neox": neox})
    inputs = make(op, "cpu")
    query, key = op.reference(**inputs)
    for token, position in enumerate(inputs["positions"].tolist()):
        table = row(inputs["cos_sin_cache"][position])
        for found, given in (
            (query[token].view(3, 8), inputs["query"][token].view(3, 8)),
            (key[token, None], inputs["key"][token, None]),
        ):
            for head in range(len(found)):
                x, y = row(given[head]), row(found[head])
                for i in range(4):
                    a, b = (i, i + 4) if neox else (2 * i, 2 * i + 1)
                    right = complex(x[a], x[b]) * complex(table[i], table[4 + i])
                    assert cmath.isclose(complex(y[a], y[b]), right, rel_tol=1e-9, abs_tol=1e-9)


@pytest.mark.parametrize("neox", [False, True])
def test_turning_back_gives_the_input(neox: bool) -> None:
    op = small("rope_inplace", {**ROPE, "neox": neox})
    inputs = make(op, "cpu")
    query, key = op.reference(**inputs)
    backwards = inputs["cos_sin_cache"].clone()
    backwards[:, 4:] *= -1
    again = op.reference(query, key, inputs["positions"], backwards)
    assert torch.allclose(again[0], inputs["query"].double(), atol=1e-6)
    assert torch.allclose(again[1], inputs["key"].double(), atol=1e-6)
    # The other way to pair columns does not.
    assert not torch.allclose(
        op.replace(neox=not neox).reference(query, key, inputs["positions"], backwards)[0], again[0], atol=0.1
    )


def test_turning_twice_is_turning_twice_as_far() -> None:
    op = small("rope_inplace", {**ROPE, "tokens": 60, "max_positions": 60})
    inputs = make(op, "cpu")
    far = small("rope_inplace", {**ROPE, "tokens": 60, "max_positions": 120})
    right = far.reference(**{**inputs, "positions": 2 * inputs["positions"], "cos_sin_cache": make(far, "cpu")["cos_sin_cache"]})
    once = op.reference(**inputs)
    twice = op.reference(*once, inputs["positions"], inputs["cos_sin_cache"])
    assert torch.allclose(twice[0], right[0], atol=2e-5) and torch.allclose(twice[1], right[1], atol=2e-5)
    assert not torch.allclose(once[0], right[0], atol=0.1)


def test_torch_turns_in_place_and_so_again_at_every_launch() -> None:
    op = small("rope_inplace", ROPE)
    inputs = make(op, "cpu")
    given = {name: value.clone() for name, value in inputs.items()}
    providers.load()
    launch = op.providers["torch"].prepare(op, **inputs)
    assert launch() is not None and launch()[0].data_ptr() == inputs["query"].data_ptr()
    once = [value.to(torch.bfloat16) for value in op.reference(**given)]
    twice = op.reference(*once, given["positions"], given["cos_sin_cache"])
    assert torch.allclose(inputs["query"].double(), twice[0], atol=0.03) and torch.allclose(
        inputs["key"].double(), twice[1], atol=0.03
    )


def test_rotated_queries_have_the_scores_of_their_distance() -> None:
    """q and k of the same vectors: the score of two positions depends on how far apart they are."""
    op = small("rope_inplace", {"tokens": 2, "q_heads": 1, "max_positions": 100})
    inputs = make(op, "cpu")

    def score(query: int, key: int) -> float:
        q, k = op.reference(**{**inputs, "positions": torch.tensor([query, key])})
        return float(q[0] @ k[1])

    assert score(90, 80) == pytest.approx(score(10, 0), rel=1e-5)
    assert score(10, 0) != pytest.approx(score(0, 10), rel=1e-3)


@pytest.mark.parametrize("neox", [False, True])
def test_quantised_is_rotated_in_place_and_then_cast(neox: bool) -> None:
    dims = {"tokens": 40, "heads": 3, "kv_lora_rank": 16, "rope_dim": 8, "neox": neox}
    op = small("mla_rope_quantize_fp8", {**dims, "quant_scale_q": 0.7, "quant_scale_kv": 1.9})
    inputs = make(op, "cpu")
    q, k = op.reference(**inputs)
    rope = small("rope_inplace", {"tokens": 40, "q_heads": 3, "head_dim": 8, "neox": neox})
    turned_q, turned_k = rope.reference(
        inputs["q_rope"].flatten(1), inputs["k_rope"], inputs["pos_ids"].long(), inputs["cos_sin_cache"]
    )
    right_q = torch.cat([inputs["q_nope"].double(), turned_q.view(40, 3, 8)], -1) * 0.7
    right_k = torch.cat([inputs["k_nope"].double(), turned_k], -1) * 1.9
    for got, want in ((q, right_q), (k, right_k)):
        assert got.dtype == torch.float8_e4m3fn
        same = got.view(torch.uint8) == want.float().to(torch.float8_e4m3fn).view(torch.uint8)
        assert float(same.float().mean()) > 0.995


def test_what_is_too_large_becomes_the_largest_code() -> None:
    op = small("mla_rope_quantize_fp8", {"tokens": 3, "heads": 2, "quant_scale_q": 1e4, "quant_scale_kv": 1e-9})
    inputs = make(op, "cpu")
    for q, k in (op.reference(**inputs), launched(op, inputs)):
        assert float(q.float().abs().min()) <= 448 == float(q.float().abs().max()) and not q.float().isnan().any()
        assert not k.float().any()


@pytest.mark.parametrize(("share", "steps", "right"), [(0.009, 1, True), (0.02, 1, False), (0.001, 2, False)])
def test_a_hundredth_of_the_codes_may_be_one_step_off(share: float, steps: int, right: bool) -> None:
    op = small("mla_rope_quantize_fp8", {"tokens": 50, "heads": 2})
    inputs = make(op, "cpu")
    want = dict(zip(("q", "k"), op.reference(**inputs), strict=True))
    codes = want["q"].clone()
    some = codes.view(torch.uint8).view(-1)[: int(share * codes.numel())]
    # Away from zero, and never past the largest code.
    some.add_(torch.where(some & 127 < 100, steps, 0).to(torch.uint8))
    got = {**want, "q": codes}
    if right:
        compare(op, inputs, got, want)
    else:
        with pytest.raises(Wrong, match="code"):
            compare(op, inputs, got, want)


def test_concat_mla_k_by_hand() -> None:
    op = small("concat_mla_k", {"tokens": 3, "heads": 2, "nope_dim": 4, "rope_dim": 3, "v_dim": 5})
    inputs = make(op, "cpu")
    kv, shared = inputs["kv"].tolist(), inputs["k_rope"].tolist()
    right = [[kv[token][head][:4] + shared[token][0] for head in range(2)] for token in range(3)]
    assert op.reference(**inputs).tolist() == right == launched(op, inputs).tolist()
    assert op.work().bytes == 2 * 3 * (2 * 4 + 3 + 2 * 7) and not op.work().flops


@pytest.mark.parametrize("splits", [1, 8])
def test_workspace_and_kernel_are_told_of_the_same_splits(splits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    import libraries

    libraries.install(monkeypatch)
    monkeypatch.setattr(cutlass, "_SPLITS", splits)
    op = small("paged_mla_decode", {"heads": 4, "kv_lens": [5, 70]})
    inputs = make(op, "cpu")
    op.providers["sgl_kernel"].prepare(op, **inputs)()


def test_one_zeroed_workspace_a_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flashinfer.mla, "_ZEROED", 1024)
    flashinfer.mla._zeroed.cache_clear()
    device = torch.device("cpu")
    try:
        first = flashinfer.mla._zeroed(device, "decode")
        assert first.numel() == 1024 and not first.any()
        assert flashinfer.mla._zeroed(device, "decode") is first is not flashinfer.mla._zeroed(device, "prefill")
    finally:
        flashinfer.mla._zeroed.cache_clear()
