"""The anchors: on the CPU they run here; the GPU's multiply-adds are compiled for Hopper and looked at."""

import pytest

from pytest_dsbench.anchors import Anchors, _cpu_buffers, measure
from pytest_dsbench.record import from_line, to_line

torch = pytest.importorskip("torch")

MIB = 2**20


def test_cpu_anchors_are_times() -> None:
    found = measure("cpu", 4 * MIB)
    assert found.compute_kind == "torch lgamma"
    # 16 MiB moved, 34 MFLOP, one call of torch: between far too fast and far too slow for any machine this runs on.
    assert 1e-5 < found.copy_seconds < 1
    assert 1e-6 < found.compute_seconds < 1
    assert 1e-8 < found.launch_seconds < 1e-2


def test_the_copy_moves_four_times_the_cache() -> None:
    measure("cpu", 2 * MIB)
    before = _cpu_buffers.cache_info().hits
    source, target = _cpu_buffers(4 * MIB)
    assert _cpu_buffers.cache_info().hits == before + 1
    assert source.nbytes + target.nbytes == 8 * MIB


def test_anchors_travel_as_a_line() -> None:
    made = Anchors(copy_seconds=1e-3, compute_seconds=2e-3, launch_seconds=3e-6, compute_kind="triton fma")
    assert from_line(to_line(made), Anchors, "here") == made


def test_the_multiply_adds_stay_in_registers() -> None:
    triton = pytest.importorskip("triton", reason="without triton the compute anchor is a matmul")
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from pytest_dsbench.kernels.fma import BLOCK, OPTIONS, fma_loop

    if not hasattr(fma_loop, "cache_key"):
        pytest.skip("TRITON_INTERPRET is set: nothing is compiled")
    signature = {"out_ptr": "*fp32", "factor": "fp32", "rounds": "i32", "BLOCK": "constexpr"}
    source = ASTSource(fn=fma_loop, signature=signature, constexprs={"BLOCK": BLOCK})
    made = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=OPTIONS)
    code = made.asm["ptx"]
    assert code.count("fma.rn.f32") == BLOCK // (32 * OPTIONS["num_warps"])
    assert "ld.global" not in code
    assert "ld.local" not in code
    assert made.metadata.shared == 0
    assert made.asm["cubin"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_cuda_anchors() -> None:
    l2 = torch.cuda.get_device_properties(0).L2_cache_size
    found = measure("cuda", l2)
    assert found.compute_kind in ("triton fma", "torch matmul")
    assert 5e-7 < found.launch_seconds < 2e-5
    assert 2e-5 < found.compute_seconds < 2e-2
    # Eight times the L2 moved, between 100 GB/s and 20 TB/s.
    assert 8 * l2 / 20e12 < found.copy_seconds < 8 * l2 / 1e11
