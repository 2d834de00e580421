"""Normalisations."""

from typing import Any

import torch
from torch import Tensor

from . import Cheat, Tensors


def _scaled(x: Tensor, total: Tensor) -> Tensor:
    return x.double() * total.rsqrt()


def _mean(x: Tensor) -> Tensor:
    return x.double().square().mean(-1, keepdim=True)


def _heads(op: Any, inputs: Tensors) -> Tensor:
    return inputs["hidden_states"].unflatten(-1, (-1, op.head_dim))


def _joined(op: Any, inputs: Tensors, normed: Tensor, k_weight: str = "k_weight") -> Tensors:
    """All heads with the first ones normalised and weighted; `normed` has no weight yet."""
    heads = _heads(op, inputs)
    weight = torch.cat([inputs["q_weight"].expand(op.q_heads, -1), inputs[k_weight].expand(op.kv_heads, -1)])
    return {"out": torch.cat([normed * weight, heads[:, op.q_heads + op.kv_heads :].double()], 1).flatten(1)}


def _qk(op: Any, inputs: Tensors) -> Tensor:
    return _heads(op, inputs)[:, : op.q_heads + op.kv_heads]


def _qk_without_eps(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    qk = _qk(op, inputs)
    return _joined(op, inputs, _scaled(qk, _mean(qk)))


def _qk_all_heads_together(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    qk = _qk(op, inputs)
    return _joined(op, inputs, _scaled(qk, _mean(qk).mean(1, keepdim=True) + op.eps))


def _qk_one_weight(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    qk = _qk(op, inputs)
    return _joined(op, inputs, _scaled(qk, _mean(qk) + op.eps), k_weight="q_weight")


def _qk_unnormalised_k(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    out, first, last = want["out"].clone(), op.q_heads * op.head_dim, (op.q_heads + op.kv_heads) * op.head_dim
    out[:, first:last] = inputs["hidden_states"][:, first:last]
    return {"out": out}


def _normalised_v(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    heads, first = _heads(op, inputs), (op.q_heads + op.kv_heads) * op.head_dim
    return {"out": torch.cat([want["out"][:, :first], _scaled(heads, _mean(heads) + op.eps).flatten(1)[:, first:]], -1)}


def _one_bit_of_v(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    out = want["out"].to(inputs["hidden_states"].dtype)
    out.view(torch.int16)[-1, -1] ^= 1
    return {"out": out}


def _gated(op: Any, inputs: Tensors, normed: Tensor, gate: Tensor) -> Tensors:
    return {"out": normed * inputs["weight"].double() * gate}


def _silu(z: Tensor) -> Tensor:
    return z.double() * z.double().sigmoid()


def _ungated(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    x = inputs["x"]
    return _gated(op, inputs, _scaled(x, _mean(x) + op.eps), torch.ones((), dtype=torch.float64))


def _sigmoid_gate(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    x = inputs["x"]
    return _gated(op, inputs, _scaled(x, _mean(x) + op.eps), inputs["z"].double().sigmoid())


def _gate_before_norm(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    x = inputs["x"].double() * _silu(inputs["z"])
    return {"out": _scaled(x, _mean(x) + op.eps) * inputs["weight"].double()}


def _gated_without_eps(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    x = inputs["x"]
    return _gated(op, inputs, _scaled(x, _mean(x)), _silu(inputs["z"]))


def _l2_of_the_mean(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    return {"out": _scaled(inputs["x"], _mean(inputs["x"]) + op.eps)}


def _l2_without_eps(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    return {"out": _scaled(inputs["x"], _mean(inputs["x"]) * op.hidden)}


def _l2_eps_outside(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    return {"out": inputs["x"].double() / (inputs["x"].double().norm(dim=-1, keepdim=True) + op.eps)}


def _l2_over_everything(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    x = inputs["x"]
    return {"out": _scaled(x, (_mean(x) * op.hidden).mean(0, keepdim=True) + op.eps)}


def _needed_qk(op: Any, inputs: Tensors) -> tuple[int, int]:
    qk = _qk(op, inputs)
    moved = qk.numel() * qk.itemsize
    return moved + sum(inputs[key].numel() * inputs[key].itemsize for key in ("q_weight", "k_weight")), moved


SMALL: list[tuple[str, dict[str, Any]]] = [
    ("rms_norm", {"tokens": 37, "hidden": 129}),
    ("rms_norm", {"tokens": 1, "hidden": 7, "dtype": "fp16"}),
    ("rms_norm", {"tokens": 5, "hidden": 64, "dtype": "fp32"}),
    ("fused_add_rms_norm", {"tokens": 37, "hidden": 129}),
    ("fused_add_rms_norm", {"tokens": 3, "hidden": 256, "dtype": "fp16"}),
    ("layer_norm", {"tokens": 37, "hidden": 129}),
    ("layer_norm", {"tokens": 2, "hidden": 5, "dtype": "fp32"}),
    ("fused_qk_rmsnorm", {"tokens": 37, "q_heads": 5, "kv_heads": 3, "head_dim": 33}),
    ("fused_qk_rmsnorm", {"tokens": 1, "q_heads": 4, "kv_heads": 1, "dtype": "bf16"}),
    ("fused_qk_rmsnorm", {"tokens": 3, "q_heads": 1, "kv_heads": 2, "head_dim": 7, "dtype": "fp32", "eps": 1e-5}),
    ("gated_rms_norm", {"rows": 37, "hidden": 129}),
    ("gated_rms_norm", {"rows": 1, "dtype": "fp16"}),
    ("gated_rms_norm", {"rows": 5, "hidden": 7, "dtype": "fp32", "eps": 1e-5}),
    ("l2_norm", {"tokens": 37, "hidden": 129}),
    ("l2_norm", {"tokens": 1, "hidden": 2048, "dtype": "fp16"}),
    ("l2_norm", {"tokens": 5, "hidden": 7, "dtype": "fp32", "eps": 1e-5}),
]
_QK = {"tokens": 37, "q_heads": 5, "kv_heads": 3}
_ROWS = {"rows": 37}
_TOKENS = {"tokens": 37, "hidden": 128}
CHEATS = [
    *(
        Cheat("fused_qk_rmsnorm", {**_QK, "dtype": dtype}, f"{what} ({dtype})", outputs)
        for what, outputs in (
            ("without eps", _qk_without_eps),
            ("over all heads together", _qk_all_heads_together),
            ("the weight of q for k", _qk_one_weight),
            ("k as it came", _qk_unnormalised_k),
            ("v normalised too", _normalised_v),
            ("one bit of v flipped", _one_bit_of_v),
        )
        for dtype in ("fp16", "bf16")
    ),
    Cheat("gated_rms_norm", _ROWS, "ungated", _ungated),
    Cheat("gated_rms_norm", _ROWS, "gated by a sigmoid", _sigmoid_gate),
    Cheat("gated_rms_norm", _ROWS, "gated before the norm", _gate_before_norm),
    Cheat("gated_rms_norm", _ROWS, "without eps", _gated_without_eps),
    Cheat("l2_norm", _TOKENS, "the mean for the sum", _l2_of_the_mean),
    Cheat("l2_norm", _TOKENS, "without eps", _l2_without_eps),
    Cheat("l2_norm", _TOKENS, "eps outside the root", _l2_eps_outside),
    Cheat("l2_norm", _TOKENS, "one length for all rows", _l2_over_everything),
]
CONTRADICTIONS = [
    ("rms_norm", {"tokens": 1, "hidden": 8, "dtype": "int32"}, "unknown dtype 'int32'"),
    ("fused_qk_rmsnorm", {"tokens": 1, "q_heads": 1, "kv_heads": 0}, "dimension 'kv_heads' is 0"),
]
NEEDED = {"fused_qk_rmsnorm": _needed_qk}
