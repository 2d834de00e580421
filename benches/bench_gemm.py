"""Matrix products."""

from pytest_dsbench import bench

bench_block_scaled_mm = bench("block_scaled_mm")
bench_bmm_fp8 = bench("bmm_fp8")
bench_dsv3_fused_a_gemm = bench("dsv3_fused_a_gemm")
bench_dsv3_router_gemm = bench("dsv3_router_gemm")
bench_linear_sigmoid_mul = bench("linear_sigmoid_mul")
bench_matmul = bench("matmul")
