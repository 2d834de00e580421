"""Activations between the two GEMMs of an MLP."""

from pytest_dsbench import bench, find

bench_silu_and_mul = bench(find("silu_and_mul"))
