"""Activations between the two GEMMs of an MLP."""

from pytest_dsbench import bench

bench_silu_and_mul = bench("silu_and_mul")
