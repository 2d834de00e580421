"""What the providers of rotary embeddings share: tables of angles, and the heads of a joint row."""

from functools import lru_cache
from typing import TYPE_CHECKING

from ..operators._rope import cos_sin
from ..operators.fused_qkv_rope import _POSITIONS, FusedQkvRope

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def angles(op: FusedQkvRope, device: "torch.device") -> "Tensor":
    """cos | sin fp32 [positions, rope_dim] of every position that is drawn: a model makes this table once."""
    return _table(op.rope_dim, op.base, device)


@lru_cache(maxsize=4)
def _table(rope_dim: int, base: float, device: "torch.device") -> "Tensor":
    import torch

    return cos_sin(torch.arange(_POSITIONS, device=device), rope_dim, base)


def heads_of(op: FusedQkvRope, qkv: "Tensor") -> tuple["Tensor", "Tensor", "Tensor"]:
    """q, k and v as views [tokens, heads, head_dim] of qkv."""
    heads, turned = qkv.view(op.tokens, -1, op.head_dim), op.q_heads + op.kv_heads
    return heads[:, : op.q_heads], heads[:, op.q_heads : turned], heads[:, turned:]


class Split:
    """q, k and v of qkv, with its bias added at every launch where there is one: views [tokens, heads, head_dim]."""

    def __init__(self, op: FusedQkvRope, qkv: "Tensor", bias: "Tensor | None") -> None:
        self._qkv, self._bias = qkv, bias
        self._source = qkv if bias is None else qkv.new_empty(qkv.shape)
        self.q, self.k, self._v = heads_of(op, self._source)
        self._copy = qkv.new_empty(self._v.shape)

    def refresh(self) -> None:
        """Adds the bias: the first step of a launch."""
        import torch

        if self._bias is not None:
            torch.add(self._qkv, self._bias, out=self._source)

    def copied_v(self) -> "Tensor":
        """v, in memory of its own: the last step of a launch."""
        return self._copy.copy_(self._v)


class Whole:
    """A copy of qkv, with its bias added where there is one, for kernels that work in place and want 64 bits for a position."""

    def __init__(self, op: FusedQkvRope, qkv: "Tensor", positions: "Tensor", bias: "Tensor | None") -> None:
        import torch

        self._qkv, self._bias, self._narrow = qkv, bias, positions
        self._whole = torch.empty_like(qkv)
        self.positions = positions.new_empty(positions.shape, dtype=torch.int64)
        q, k, v = heads_of(op, self._whole)
        #: q, k and v, as the operator returns them
        self.heads = q, k, v
        #: [tokens, heads * head_dim]
        self.flat_q, self.flat_k = q.view(op.tokens, -1), k.view(op.tokens, -1)

    def refresh(self) -> None:
        """Copies: the first step of a launch."""
        import torch

        self.positions.copy_(self._narrow)
        if self._bias is None:
            self._whole.copy_(self._qkv)
        else:
            torch.add(self._qkv, self._bias, out=self._whole)
