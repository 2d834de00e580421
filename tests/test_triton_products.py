"""The Triton kernels with matrix products: on the tensor cores, in configurations that fit, and what no check reaches."""

import os
import re
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="the kernels allocate with torch")
pytest.importorskip("triton", reason="triton is not installed")
pytest.importorskip("numpy", reason="Triton's interpreter needs numpy, which triton does not declare")

from triton_launches import Launch, launches

from pytest_dsbench import providers
from pytest_dsbench.kernels.attention_parts import keys_per_part
from pytest_dsbench.kernels.fused_moe import rows_per_block
from pytest_dsbench.kernels.moe_align import most_blocks
from pytest_dsbench.operator import Operator, registered
from pytest_dsbench.provider import Unsupported

_HERE = Path(__file__).parent
_INTERPRETED = os.environ.get("TRITON_INTERPRET", "") not in ("", "0")
compiled = pytest.mark.skipif(_INTERPRETED, reason="under TRITON_INTERPRET Triton compiles nothing")

providers.load()


def build(name: str, **dims: Any) -> Operator:
    return registered()[name].build(dims)


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))


@pytest.mark.parametrize("what", ["alignment", "tiles", "parts", "order_of_tiles"])
def test_right_in_the_interpreter(what: str) -> None:
    paths = [str(_HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, "-W", "error", str(_HERE / "triton_products_interpreted.py"), what],
        env=os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (done.returncode, done.stdout) == (0, "as it should be\n"), done.stdout + done.stderr


#: A call, one of its kernels, and what its product is in PTX on Hopper and on Blackwell.
_BF16 = r"mma\.sync\.aligned\.m16n8k16\.row\.col\.f32\.bf16\.bf16\.f32"
_TENSOR_CORES = {
    "fp8": (
        *(build("block_scaled_mm", m=237, n=4096, k=4096), "scaled_product"),
        (r"wgmma\.mma_async\.sync\.aligned\.m64n\d+k32\.f32\.e4m3\.e4m3", r"tcgen05\.mma\S*kind::f8f6f4"),
    ),
    # A tile of few rows is turned around, since no fp8 instruction has fewer than 64.
    "fp8, few rows": (
        *(build("block_scaled_mm", m=5, n=2048, k=2048), "scaled_product"),
        (r"wgmma\.mma_async\.sync\.aligned\.m64n16k32\.f32\.e4m3\.e4m3", r"tcgen05\.mma\S*kind::f8f6f4"),
    ),
    "experts": (
        *(build("fused_moe", tokens=1019, hidden=4096, intermediate=384, experts=128, top_k=8), "grouped_product"),
        (r"wgmma\.mma_async\.sync\.aligned\.m64n\d+k16\.f32\.bf16\.bf16", r"tcgen05\.mma\S*kind::f16"),
    ),
    "experts, few rows": (
        *(build("fused_moe", tokens=1, hidden=2048, intermediate=768, experts=128, top_k=8), "grouped_product"),
        (_BF16, _BF16),
    ),
    "attention": (
        *(build("paged_attention_decode", q_heads=16, kv_heads=2, head_dim=128, kv_lens=[128]), "attend_part"),
        (_BF16, _BF16),
    ),
}


def ends(op: Operator, kernel: str) -> list[Launch]:
    """The first and the last configuration of a kernel; of both products of fused_moe, since they are two launches of one."""
    found = [launch for launch in launches(op) if launch.kernel.__name__ == kernel]
    return [found[0], found[-1]]


@compiled
@pytest.mark.parametrize("what", _TENSOR_CORES)
def test_products_are_on_the_tensor_cores(what: str) -> None:
    op, kernel, instructions = _TENSOR_CORES[what]
    for launch, (arch, instruction) in product(ends(op, kernel), zip((90, 100), instructions, strict=True)):
        built = launch.compile(arch)
        ptx = built.asm["ptx"]
        assert re.search(instruction, ptx), (launch.config, arch)
        # Nothing is widened on the way, and no product is done one multiply-add at a time.
        assert not re.search(r"cvt\S*f16x2\.e4m3x2|cvt\.f32\.bf16", ptx), (launch.config, arch)
        assert built.metadata.shared <= 227 * 1024


_SIZES = {
    "block_scaled_mm": [
        {"m": m, "n": 2048, "k": 2048, "group_n": group_n, "group_k": group_k}
        for m, group_n, group_k in product((1, 17, 33, 100, 129, 704512), (1, 128), (16, 32, 128, 256))
    ],
    "fused_moe": [
        {"tokens": tokens, "hidden": 2048, "intermediate": 768, "experts": experts, "top_k": 2, "dtype": dtype}
        for tokens, experts, dtype in product((1, 100, 20000), (2, 8, 300), ("bf16", "fp16"))
    ],
    "paged_attention_decode": [
        {"q_heads": q_heads, "kv_heads": 1, "head_dim": head_dim, "kv_lens": [100]}
        for q_heads, head_dim in ((1, 8), (1, 1024), (8, 256), (16, 128), (32, 512), (64, 256), (128, 128), (512, 16))
    ],
}


@compiled
@pytest.mark.parametrize("name", _SIZES)
def test_every_size_has_configurations_whose_results_fit_into_registers(name: str) -> None:
    for dims in _SIZES[name]:
        held = 0
        for launch in launches(build(name, **dims)):
            given = launch.given
            match launch.kernel.__name__:
                case "grouped_product":
                    held = given["BLOCK_M"] * given["BLOCK_N"] * (1 + given["GATED"])
                case "scaled_product":
                    held = 2 * given["BLOCK_M"] * given["BLOCK_N"]
                case "attend_part":
                    held = given["ROWS"] * (given["COLUMNS"] + given["BLOCK_N"])
                case _:
                    continue
            assert held <= 128 * 32 * given["num_warps"], (dims, launch.config)
        assert held, dims


@compiled
@pytest.mark.parametrize(("q_heads", "head_dim"), [(1, 1024), (64, 256), (512, 16)])
def test_what_is_thought_to_fit_does(q_heads: int, head_dim: int) -> None:
    op = build("paged_attention_decode", q_heads=q_heads, kv_heads=1, head_dim=head_dim, kv_lens=[4096], layout="nhd")
    found = [launch for launch in launches(op) if launch.kernel.__name__ == "attend_part"]
    for launch in (found[0], found[-1]):
        assert launch.compile(90).metadata.shared <= 227 * 1024


def test_refuses_what_the_kernels_cannot_do() -> None:
    for sentence, op in (
        ("group_k = 8: this kernel loads", build("block_scaled_mm", m=1, n=8, k=8, group_n=8, group_k=8)),
        ("cannot multiply fp8_e4m3fnuz", build("block_scaled_mm", m=1, n=128, k=128, fp8="fp8_e4m3fnuz")),
        ("dtype = fp32", build("fused_moe", tokens=1, hidden=8, intermediate=8, experts=1, top_k=1, dtype="fp32")),
        ("experts = 1024", build("fused_moe", tokens=1, hidden=8, intermediate=8, experts=1024, top_k=1)),
        ("block_size = 48", build("moe_align_block_size", tokens=1, experts=2, top_k=1, block_size=48)),
        ("dtype = fp32", build("paged_attention_decode", q_heads=1, kv_heads=1, head_dim=8, kv_lens=[1], dtype="fp32")),
        ("1024 query heads of 16 columns", build("paged_attention_decode", q_heads=1024, kv_heads=1, head_dim=16, kv_lens=[1])),
        ("128 query heads of 256 columns", build("paged_attention_decode", q_heads=128, kv_heads=1, head_dim=256, kv_lens=[1])),
    ):
        with pytest.raises(Unsupported, match=sentence):
            launches(op)


def test_there_is_room_for_every_routing() -> None:
    for experts, pairs, block in product((1, 2, 3), range(1, 8), (1, 2, 4)):
        loads = [load for load in product(range(pairs + 1), repeat=experts) if sum(load) == pairs]
        assert most_blocks(pairs, experts, block) == max(sum(-(-one // block) for one in load) for load in loads)


def test_rows_of_a_block_follow_the_load_of_an_expert() -> None:
    loads = ((1, 128), (2048, 128), (2049, 128), (8192, 128), (8193, 128), (10**6, 8))
    assert [rows_per_block(pairs, experts) for pairs, experts in loads] == [16, 16, 32, 64, 128, 128]


@pytest.mark.parametrize(
    ("lengths", "kv_heads"),
    [([1], 1), ([128] * 64, 8), ([4096], 8), ([100000], 1), ([10**6], 1), ([100] * 255 + [50000], 4), ([8192] * 256, 8)],
)
def test_parts_fill_the_gpu_and_no_more(lengths: list[int], kv_heads: int) -> None:
    keys = keys_per_part(lengths, kv_heads, 132)
    parts = [-(-length // keys) for length in lengths]
    assert keys % 128 == 0 and keys >= 256
    assert max(parts) <= 128
    # No more programs than there are heads of sequences and, on top of these, four for every multiprocessor.
    assert sum(parts) * kv_heads <= 4 * 132 + len(lengths) * kv_heads
    # The longest sequence is not left to fewer programs than there is work for.
    even = sum(lengths) * kv_heads / (4 * 132)
    assert keys <= max(even, 256, max(lengths) / 128) + 128


@compiled
def test_a_call_reads_nothing_on_the_host() -> None:
    # Tensors on the device "meta" have no values: what runs there looked at none.
    op = build("fused_moe", tokens=300, hidden=64, intermediate=64, experts=8, top_k=2)
    found = {launch.name: launch for launch in launches(op, "meta")}
    assert list(found) == ["moe_align.place", "fused_moe.grouped_product", "moe_sum_reduce.summed"]
    blocks = most_blocks(600, 8, rows_per_block(600, 8))
    given = found["fused_moe.grouped_product"].given
    assert found["fused_moe.grouped_product"].programs == (blocks * -(-given["columns"] // given["BLOCK_N"]),)
    # Of few pairs every program counts all; of more they are counted first.
    many = launches(build("fused_moe", tokens=5000, hidden=64, intermediate=64, experts=8, top_k=1), "meta")
    assert [launch.name for launch in many if not launch.config] == ["moe_align.count", "moe_align.place"]
