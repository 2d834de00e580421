"""Normalisations in front of attention and MLP blocks, and inside them."""

from pytest_dsbench import bench

bench_rms_norm = bench("rms_norm")
bench_fused_add_rms_norm = bench("fused_add_rms_norm")
bench_layer_norm = bench("layer_norm")
bench_fused_qk_rmsnorm = bench("fused_qk_rmsnorm")
bench_gated_rms_norm = bench("gated_rms_norm")
bench_l2_norm = bench("l2_norm")
