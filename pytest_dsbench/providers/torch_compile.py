"""torch_compile: the native compositions of torch_native, compiled; slow to start, so only by request."""

import warnings
from collections.abc import Callable
from functools import lru_cache
from importlib import import_module
from types import FunctionType
from typing import TYPE_CHECKING, Any

from ..operator import Launch, Operator
from ..operators.fp8_dynamic_per_token_quant import Fp8DynamicPerTokenQuant
from ..operators.fused_add_rms_norm import FusedAddRmsNorm
from ..operators.layer_norm import LayerNorm
from ..operators.rms_norm import RmsNorm
from ..operators.silu_and_mul import SiluAndMul
from . import torch_native
from .torch_native import ANY

if TYPE_CHECKING:
    from torch import Tensor


@lru_cache(maxsize=16)
def compiled(function: FunctionType, op: Operator) -> Callable[..., Any]:
    """`function` compiled for the shapes of `op` alone, or an error: it never falls back to eager code.

    Dynamo keeps what it compiled with the code object and gives up after eight shapes, so every operator gets its own copy.
    """
    import torch

    with warnings.catch_warnings():
        # Importing inductor warns of torch's own deprecations; where warnings are errors, that would fail the compilation.
        warnings.simplefilter("ignore", DeprecationWarning)
        import_module("torch._inductor.compile_fx")
    own = FunctionType(function.__code__.replace(co_name=f"{function.__name__}_{hash(op):x}"), function.__globals__)
    ready: Callable[..., Any] = torch.compile(own, fullgraph=True, dynamic=False)
    return ready


@RmsNorm.provider("torch_compile", needs="torch", devices=ANY, opt_in=True)
def _rms_norm(op: RmsNorm, x: "Tensor", weight: "Tensor") -> Launch:
    call = compiled(torch_native.rms_norm, op)
    return lambda: call(x, weight, op.eps)


@FusedAddRmsNorm.provider("torch_compile", needs="torch", devices=ANY, opt_in=True)
def _fused_add_rms_norm(op: FusedAddRmsNorm, x: "Tensor", residual: "Tensor", weight: "Tensor") -> Launch:
    call = compiled(torch_native.add_rms_norm, op)
    return lambda: call(x, residual, weight, op.eps)


@SiluAndMul.provider("torch_compile", needs="torch", devices=ANY, opt_in=True)
def _silu_and_mul(op: SiluAndMul, x: "Tensor") -> Launch:
    call = compiled(torch_native.silu_and_mul, op)
    return lambda: call(x)


@LayerNorm.provider("torch_compile", needs="torch", devices=ANY, opt_in=True)
def _layer_norm(op: LayerNorm, x: "Tensor", weight: "Tensor", bias: "Tensor") -> Launch:
    call = compiled(torch_native.layer_norm, op)
    return lambda: call(x, weight, bias, op.eps)


@Fp8DynamicPerTokenQuant.provider("torch_compile", needs="torch", devices=ANY, opt_in=True)
def _fp8_dynamic_per_token_quant(op: Fp8DynamicPerTokenQuant, x: "Tensor") -> Launch:
    from ..tensors import torch_dtype

    call, encoding = compiled(torch_native.quantise, op), torch_dtype(op.fp8)
    return lambda: call(x, encoding)
