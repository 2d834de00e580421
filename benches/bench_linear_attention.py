"""Linear attention."""

from pytest_dsbench import bench

bench_gated_delta_rule_update = bench("gated_delta_rule_update")
bench_chunk_gated_delta_rule_state = bench("chunk_gated_delta_rule_state")
bench_chunk_delta_rule_output = bench("chunk_delta_rule_output")
bench_causal_conv1d = bench("causal_conv1d")
