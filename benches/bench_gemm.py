"""Matrix products."""

from pytest_dsbench import bench, find

bench_block_scaled_mm = bench(find("block_scaled_mm"))
