"""Normalisations in front of attention and MLP blocks."""

from pytest_dsbench import bench

bench_rms_norm = bench("rms_norm")
bench_fused_add_rms_norm = bench("fused_add_rms_norm")
bench_layer_norm = bench("layer_norm")
