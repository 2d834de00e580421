"""Matrix products."""

from pytest_dsbench import bench

bench_block_scaled_mm = bench("block_scaled_mm")
bench_linear_sigmoid_mul = bench("linear_sigmoid_mul")
