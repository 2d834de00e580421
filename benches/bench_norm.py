"""Normalisations in front of attention and MLP blocks."""

from pytest_dsbench import bench, find

bench_rms_norm = bench(find("rms_norm"))
bench_fused_add_rms_norm = bench(find("fused_add_rms_norm"))
bench_layer_norm = bench(find("layer_norm"))
