"""Matrix products."""

from pytest_dsbench import bench

bench_block_scaled_mm = bench("block_scaled_mm")
