"""Rotary embeddings."""

from typing import Any

import torch
from torch import Tensor

from pytest_dsbench.operators._rope import rotated

from . import Cheat, Tensors


def _interleaved(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Columns 2i and 2i + 1 turned together, instead of i and i + half."""
    c, s, wide = cos.double()[:, None], sin.double()[:, None], x.double()
    low, high = wide[..., 0::2], wide[..., 1::2]
    return torch.stack([low * c - high * s, high * c + low * s], -1).flatten(-2)


def _backwards(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    return rotated(x, cos, -sin)


def _split(op: Any, inputs: Tensors, bias: bool = True) -> tuple[Tensor, Tensor, Tensor]:
    total = inputs["qkv"] + inputs["qkv_bias"] if bias and op.bias else inputs["qkv"]
    q, k, v = total.unflatten(-1, (-1, op.head_dim)).split([op.q_heads, op.kv_heads, op.kv_heads], 1)
    return q, k, v


def _angles(op: Any, inputs: Tensors, base: float = 0.0) -> tuple[Tensor, Tensor]:
    steps = torch.arange(0, op.rope_dim, 2).double() / op.rope_dim
    angles = inputs["positions"].double()[:, None] * (base or op.base) ** -steps
    return angles.cos(), angles.sin()


def _unrotated(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    return dict(zip("qkv", _split(op, inputs), strict=True))


def _only_k_unrotated(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    return {"k": _split(op, inputs)[1]}


def _at_the_next_position(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    return {"q": op.reference(**inputs | {"positions": inputs["positions"] + 1})[0]}


def _pairs_interleaved(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    q, k, _ = _split(op, inputs)
    return {"q": _interleaved(q, *_angles(op, inputs)), "k": _interleaved(k, *_angles(op, inputs))}


def _turned_backwards(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    q, k, _ = _split(op, inputs)
    return {"q": _backwards(q, *_angles(op, inputs)), "k": _backwards(k, *_angles(op, inputs))}


def _v_turned_too(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    return {"v": rotated(_split(op, inputs)[2], *_angles(op, inputs))}


def _of_another_base(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    return {"q": rotated(_split(op, inputs)[0], *_angles(op, inputs, op.base * 1.001))}


def _in_half_precision(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    """Angles kept in 16 bits, as a table of cosines by half-precision positions would."""
    cos, sin = _angles(op, inputs | {"positions": inputs["positions"].half().clamp_max(32767)})
    return {"q": rotated(_split(op, inputs)[0], cos, sin)}


def _without_bias(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    return {"q": rotated(_split(op, inputs, bias=False)[0], *_angles(op, inputs))}


def _bias_on_q_and_k_alone(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    return {"v": _split(op, inputs, bias=False)[2]}


def _all_columns(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    """The whole head turned where rope_dim is only a part of it."""
    whole = type(op)(**{name: getattr(op, name) for name in op.__struct_fields__} | {"rope_dim": op.head_dim})
    return {"q": whole.reference(**inputs)[0]}


def _along(op: Any, inputs: Tensors, axes: list[int]) -> Tensors:
    """q and k by the angles of other axes: axes[i] for the i-th section."""
    tables = {name: inputs[name][axes] for name in ("cos", "sin")}
    return dict(zip("qk", op.reference(inputs["q"], inputs["k"], **tables), strict=True))


def _mrope_unrotated(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    return {"q": inputs["q"], "k": inputs["k"]}


def _mrope_k_unrotated(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    return {"k": inputs["k"]}


def _mrope_time_alone(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    return _along(op, inputs, [0, 0, 0])


def _mrope_axes_swapped(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    return _along(op, inputs, [0, 2, 1])


def _mrope_interleaved(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    cos, sin = (op.of_each_pair(inputs[name]) for name in ("cos", "sin"))
    heads = {name: inputs[name].unflatten(-1, (-1, op.head_dim)) for name in "qk"}
    return {name: _interleaved(x, cos, sin).flatten(1) for name, x in heads.items()}


def _mrope_backwards(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    return dict(zip("qk", op.reference(inputs["q"], inputs["k"], inputs["cos"], -inputs["sin"]), strict=True))


def _needed_mrope(op: Any, inputs: Tensors) -> tuple[int, int]:
    columns = 2 * sum(op.sections)
    heads = [inputs[name].unflatten(-1, (-1, op.head_dim))[..., :columns] for name in "qk"]
    turned = sum(x.numel() * x.itemsize for x in heads)
    return turned + sum(inputs[name][0].numel() * inputs[name].itemsize for name in ("cos", "sin")), turned


SMALL: list[tuple[str, dict[str, Any]]] = [
    ("fused_qkv_rope", {"tokens": 37, "q_heads": 5, "kv_heads": 3}),
    ("fused_qkv_rope", {"tokens": 1, "q_heads": 4, "kv_heads": 1, "dtype": "bf16", "bias": True}),
    ("fused_qkv_rope", {"tokens": 7, "q_heads": 3, "kv_heads": 2, "head_dim": 33, "rope_dim": 18, "bias": True}),
    ("fused_qkv_rope", {"tokens": 3, "q_heads": 1, "kv_heads": 1, "head_dim": 8, "rope_dim": 8, "dtype": "fp32", "base": 1e6}),
    ("mrope", {"tokens": 37, "q_heads": 5, "kv_heads": 1}),
    ("mrope", {"tokens": 1, "q_heads": 4, "kv_heads": 2, "dtype": "fp16"}),
    ("mrope", {"tokens": 5, "q_heads": 3, "kv_heads": 2, "head_dim": 33, "sections": [3, 5, 2], "dtype": "fp32"}),
]
_ROPE = {"tokens": 37, "q_heads": 5, "kv_heads": 3}
_MROPE = {"tokens": 37, "q_heads": 5, "kv_heads": 1}
CHEATS = [
    *(
        Cheat("fused_qkv_rope", {**_ROPE, "dtype": dtype}, f"{what} ({dtype})", outputs)
        for what, outputs in (
            ("un-rotated", _unrotated),
            ("k un-rotated", _only_k_unrotated),
            ("one position further", _at_the_next_position),
            ("interleaved", _pairs_interleaved),
            ("turned backwards", _turned_backwards),
            ("v turned too", _v_turned_too),
            ("a base 0.1 % away", _of_another_base),
            ("positions in fp16", _in_half_precision),
        )
        for dtype in ("fp16", "bf16")
    ),
    Cheat("fused_qkv_rope", {**_ROPE, "bias": True}, "without the bias", _without_bias),
    Cheat("fused_qkv_rope", {**_ROPE, "bias": True}, "v without its bias", _bias_on_q_and_k_alone),
    Cheat("fused_qkv_rope", {**_ROPE, "rope_dim": 64}, "all columns turned", _all_columns),
    Cheat("mrope", _MROPE, "un-rotated", _mrope_unrotated),
    Cheat("mrope", _MROPE, "k un-rotated", _mrope_k_unrotated),
    Cheat("mrope", _MROPE, "time for every axis", _mrope_time_alone),
    Cheat("mrope", _MROPE, "height and width swapped", _mrope_axes_swapped),
    Cheat("mrope", _MROPE, "interleaved", _mrope_interleaved),
    Cheat("mrope", _MROPE, "turned backwards", _mrope_backwards),
]
CONTRADICTIONS = [
    ("fused_qkv_rope", {"tokens": 1, "q_heads": 1, "kv_heads": 1, "head_dim": 64}, "rope_dim = 128 is more than head_dim = 64"),
    ("fused_qkv_rope", {"tokens": 1, "q_heads": 1, "kv_heads": 1, "rope_dim": 7}, "rope_dim = 7 is odd"),
    (
        "mrope",
        {"tokens": 1, "q_heads": 1, "kv_heads": 1, "head_dim": 64},
        r"sections = \[16, 24, 24\] turn 128 columns, more than head_dim = 64",
    ),
]
NEEDED = {"mrope": _needed_mrope}
