"""Projections: a product with a weight in its precision, and the quantising of its rows in front of it."""

from collections.abc import Iterator

from ...operators import find
from ..precision import Weight
from .op import Op, Stage


def linear(name: str, stage: Stage, tokens: int, n: int, k: int, weight: Weight) -> Iterator[Op]:
    """out [tokens, n] = x [tokens, k] times a weight [n, k].

    In front of fp8 weights x is quantised, 128 values a scale. In front of NVFP4 weights it would be too: there is no operator
    of that alone, and it is left out.
    """
    if weight == "fp8":
        yield Op(name=f"{name}.quant", stage=stage, operator=find("per_token_group_quant_fp8")(tokens=tokens, hidden=k))
        operator = find("block_scaled_mm")(m=tokens, n=n, k=k, out_dtype="bf16")
    elif weight == "fp4":
        operator = find("scaled_fp4_mm")(m=tokens, n=n, k=k)
    else:
        operator = find("matmul")(m=tokens, n=n, k=k)
    yield Op(name=name, stage=stage, operator=operator, rows=tokens)


def batched(name: str, stage: Stage, heads: int, tokens: int, n: int, k: int, weight: Weight) -> Op:
    """One product for each head, out [heads, tokens, n], as the absorbed projections of latent attention are."""
    if weight == "bf16":
        return Op(name=name, stage=stage, operator=find("matmul")(m=tokens, n=n, k=k), count=heads, rows=tokens)
    return Op(name=name, stage=stage, operator=find("bmm_fp8")(batch=heads, m=tokens, n=n, k=k), rows=tokens)
