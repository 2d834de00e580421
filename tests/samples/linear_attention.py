"""Linear attention: the gated delta rule, its chunked halves, the convolution in front of it."""

from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import torch
from torch.utils.flop_counter import FlopCounterMode

from pytest_dsbench.operators import gated_delta_rule_update
from pytest_dsbench.tensors import make

from . import Cheat, Tensors

Outputs = Callable[[Any, Tensors, Tensors], Tensors]


def _named(op: Any, values: Any) -> Tensors:
    return dict(zip(op.outputs(), values if isinstance(values, tuple) else (values,), strict=True))


def _with(**changes: Callable[[Any, Tensors], Any]) -> Outputs:
    """What the operator gives for other inputs."""
    return lambda op, inputs, want: _named(op, op.reference(**inputs | {k: made(op, inputs) for k, made in changes.items()}))


def _without_norms(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    with patch.object(gated_delta_rule_update, "unit", lambda x: x.float() / op.key_dim**0.5):
        return _named(op, op.reference(**inputs))


def _unscaled(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    return {"out": want["out"] * op.key_dim**0.5}


def _forgets_the_pool(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    touched = inputs["initial_state_indices"].long()
    pool = torch.zeros_like(want["final_state"])
    pool[touched] = want["final_state"][touched]
    return {"final_state": pool}


def _leaves_the_pool(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    return {"final_state": inputs["initial_state"]}


def _one_row_is_off(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    """The error of one state is four times what is allowed, but lost in the norm of the whole pool."""
    pool = want["final_state"].clone()
    row = int(inputs["initial_state_indices"][0])
    pool[row] *= 1 + 4 * op.tolerance["final_state"].rel_l2
    return {"final_state": pool}


def _every_token_first(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    """As if every token were a sequence of its own."""
    one = op.replace(tokens=1)
    given = ("a", "b", "q", "k", "v")
    outs = [one.reference(**inputs | {name: inputs[name][:, t : t + 1] for name in given})[0] for t in range(op.tokens)]
    return {"out": torch.cat(outs, 1)}


def _interleaved(*names: str) -> Outputs:
    """Value heads meet query or key head hv % heads in place of hv // ratio."""

    def outputs(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
        heads = next(field for field in ("q_heads", "k_heads") if hasattr(op, field))
        taken = torch.arange(op.v_heads) % getattr(op, heads)
        own = op.replace(**{heads: op.v_heads})
        return _named(op, own.reference(**inputs | {name: inputs[name][:, :, taken] for name in names}))

    return outputs


def _neighbour(op: Any, inputs: Tensors) -> Any:
    return (inputs["initial_state_indices"] + 1) % op.states


def _zeros(name: str) -> Callable[[Any, Tensors], Any]:
    return lambda op, inputs: torch.zeros_like(inputs[name])


def _unmasked(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    """Tokens also see those after them, in one chunk."""
    q, k, v, h, g = (inputs[name].float().transpose(1, 2) for name in ("q", "k", "v", "h", "g"))
    ratio = op.v_heads // op.q_heads
    q, k = q.repeat_interleave(ratio, 1), k.repeat_interleave(ratio, 1)
    weights = (q @ k.transpose(-1, -2)) * (g[..., :, None] - g[..., None, :]).exp()
    out = g.exp()[..., None] * (q @ h[:, :, 0]) + weights @ v
    return {"out": (out * op.key_dim**-0.5).transpose(1, 2)}


def _convolved(op: Any, inputs: Tensors, bias: bool) -> Any:
    x, weight, before = (inputs[name].double() for name in ("x", "weight", "initial_state"))
    sums = torch.nn.functional.conv1d(torch.cat([before[0], x], 1), weight[:, None], groups=op.channels)
    return sums + inputs["bias"].double()[:, None] if bias else sums


def _without_bias(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    return {"out": torch.nn.functional.silu(_convolved(op, inputs, bias=False))}


def _without_silu(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    return {"out": _convolved(op, inputs, bias=True)}


SMALL: list[tuple[str, dict[str, Any]]] = [
    ("gated_delta_rule_update", {"tokens": 1, "q_heads": 1, "v_heads": 2, "key_dim": 16, "value_dim": 24, "states": 3}),
    (
        "gated_delta_rule_update",
        {"batch": 3, "tokens": 7, "q_heads": 2, "v_heads": 6, "key_dim": 9, "value_dim": 33, "states": 5},
    ),
    ("gated_delta_rule_update", {"batch": 2, "tokens": 1, "q_heads": 2, "v_heads": 4, "states": 2}),
    (
        "gated_delta_rule_update",
        {"tokens": 131, "q_heads": 1, "v_heads": 1, "key_dim": 32, "value_dim": 40, "states": 1, "dtype": "fp32"},
    ),
    (
        "chunk_gated_delta_rule_state",
        {"batch": 2, "tokens": 131, "k_heads": 2, "v_heads": 4, "key_dim": 32, "value_dim": 48, "states": 3},
    ),
    (
        "chunk_gated_delta_rule_state",
        {"tokens": 5, "k_heads": 1, "v_heads": 3, "key_dim": 7, "value_dim": 17, "states": 1, "chunk": 2, "dtype": "fp32"},
    ),
    ("chunk_gated_delta_rule_state", {"tokens": 1, "k_heads": 1, "v_heads": 1, "key_dim": 16, "value_dim": 16, "states": 2}),
    ("chunk_delta_rule_output", {"batch": 2, "tokens": 131, "q_heads": 2, "v_heads": 4, "key_dim": 32, "value_dim": 48}),
    (
        "chunk_delta_rule_output",
        {"tokens": 5, "q_heads": 1, "v_heads": 3, "key_dim": 7, "value_dim": 17, "chunk": 2, "dtype": "fp32"},
    ),
    ("chunk_delta_rule_output", {"tokens": 64, "q_heads": 1, "v_heads": 1, "key_dim": 16, "value_dim": 16}),
    ("causal_conv1d", {"tokens": 37, "channels": 129}),
    ("causal_conv1d", {"tokens": 1, "channels": 9}),
    ("causal_conv1d", {"tokens": 2, "channels": 12, "width": 7, "dtype": "fp32"}),
    ("causal_conv1d", {"tokens": 65, "channels": 3, "width": 2, "dtype": "fp16"}),
]

_GATED = {"batch": 2, "tokens": 9, "q_heads": 2, "v_heads": 4, "key_dim": 32, "value_dim": 48, "states": 17}
_STATE = {"tokens": 130, "k_heads": 2, "v_heads": 4, "key_dim": 32, "value_dim": 48, "states": 17}
_OUTPUT = {"tokens": 64, "q_heads": 2, "v_heads": 4, "key_dim": 32, "value_dim": 48}
_CHUNKS = {"tokens": 130, "q_heads": 2, "v_heads": 4, "key_dim": 32, "value_dim": 48}
_CONV = {"tokens": 37, "channels": 131}

_POOLS: list[tuple[str, Outputs]] = [
    ("from another state", _with(initial_state_indices=_neighbour)),
    ("without the other states", _forgets_the_pool),
    ("without writing a state", _leaves_the_pool),
    ("with one state a little off", _one_row_is_off),
]
_BY_OPERATOR: list[tuple[str, dict[str, Any], list[tuple[str, Outputs]]]] = [
    (
        "gated_delta_rule_update",
        _GATED,
        [
            *_POOLS,
            ("without decay", _with(a_log=lambda op, inputs: torch.full_like(inputs["a_log"], -100.0))),
            ("without a bias in its decay", _with(dt_bias=_zeros("dt_bias"))),
            ("without beta", _with(b=lambda op, inputs: torch.full_like(inputs["b"], 100.0))),
            ("with queries and keys as they come", _without_norms),
            ("unscaled", _unscaled),
            ("with tokens that do not see each other", _every_token_first),
            ("with query heads interleaved", _interleaved("q", "k")),
        ],
    ),
    (
        "chunk_gated_delta_rule_state",
        _STATE,
        [
            *_POOLS,
            ("without decay", _with(g=_zeros("g"))),
            ("without what the keys read", _with(w=_zeros("w"))),
            ("with key heads interleaved", _interleaved("k")),
            ("with the same state at every chunk", lambda op, inputs, want: {"h": want["h"][:, :1].expand(want["h"].shape)}),
        ],
    ),
    (
        "chunk_delta_rule_output",
        _CHUNKS,
        [
            ("without decay", _with(g=_zeros("g"))),
            ("without states", _with(h=_zeros("h"))),
            ("with the state of another chunk", _with(h=lambda op, inputs: inputs["h"].roll(1, 1))),
            ("unscaled", _unscaled),
            ("with query heads interleaved", _interleaved("q", "k")),
        ],
    ),
    ("chunk_delta_rule_output", _OUTPUT, [("without the causal mask", _unmasked)]),
    (
        "causal_conv1d",
        _CONV,
        [
            ("with its weights the other way around", _with(weight=lambda op, inputs: inputs["weight"].flip(1))),
            ("without the inputs before", _with(initial_state=_zeros("initial_state"))),
            ("without bias", _without_bias),
            ("without silu", _without_silu),
        ],
    ),
]
CHEATS = [Cheat(name, dims, what, outputs) for name, dims, cheats in _BY_OPERATOR for what, outputs in cheats]
CONTRADICTIONS = [
    (
        "gated_delta_rule_update",
        {"tokens": 1, "q_heads": 2, "v_heads": 3, "states": 1},
        "v_heads = 3 is no multiple of q_heads = 2",
    ),
    ("gated_delta_rule_update", {"batch": 3, "tokens": 1, "q_heads": 1, "v_heads": 1, "states": 2}, "have only states = 2 rows"),
    ("chunk_gated_delta_rule_state", {"tokens": 1, "k_heads": 2, "v_heads": 3, "states": 1}, "is no multiple of k_heads = 2"),
    ("chunk_gated_delta_rule_state", {"batch": 2, "tokens": 1, "k_heads": 1, "v_heads": 1, "states": 1}, "only states = 1 rows"),
    ("chunk_delta_rule_output", {"tokens": 1, "q_heads": 4, "v_heads": 2}, "v_heads = 2 is no multiple of q_heads = 4"),
    ("causal_conv1d", {"tokens": 1, "channels": 1, "width": 1}, "width = 1 sees no other token; expected at least 2"),
]


def _touched(op: Any, inputs: Tensors) -> tuple[int, int]:
    """Of the pool only the rows of the sequences; everything else as it is."""
    moved = op.batch * inputs["initial_state"][0].nbytes
    read = sum(value.nbytes for name, value in inputs.items() if name != "initial_state")
    return read + moved, sum(spec.nbytes for name, spec in op.outputs().items() if name != "final_state") + moved


def _serial_flop(op: Any) -> int:
    """What torch counts in the reference at one token, as often as there are tokens."""
    one = op.replace(tokens=1)
    with FlopCounterMode(display=False) as counter:
        one.reference(**make(one, "meta"))
    return int(counter.get_total_flops()) * int(op.tokens)


def _causal_flop(op: Any) -> int:
    """Token by token: a product with the state, then a key and a value for each token of its chunk up to itself."""
    seen = [token % op.chunk + 1 for token in range(op.tokens)]
    per_pair = 2 * (op.q_heads * op.key_dim + op.v_heads * op.value_dim)
    return int(op.batch * sum(2 * op.v_heads * op.key_dim * op.value_dim + pairs * per_pair for pairs in seen))


NEEDED = {"gated_delta_rule_update": _touched, "chunk_gated_delta_rule_state": _touched}
MATRIX = {"gated_delta_rule_update": _serial_flop, "chunk_delta_rule_output": _causal_flop}
