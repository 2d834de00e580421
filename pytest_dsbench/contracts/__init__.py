"""Contracts: what a library's kernel takes, as data. One TOML file per library beside this one; nothing lists them."""

from .contract import KERNELS, Contract, Limit, contracts, kernel_of, of
from .refusal import refusal

__all__ = ["KERNELS", "Contract", "Limit", "contracts", "kernel_of", "of", "refusal"]
