"""mrope in place: all heads of a token turned by one program, so that its angles are read once."""

from typing import TYPE_CHECKING, Any

import triton
import triton.language as tl

from .launch import narrow, tuned

if TYPE_CHECKING:
    from torch import Tensor

_CONFIGS = [triton.Config({"enable_fp_fusion": True}, num_warps=warps) for warps in (1, 2, 4, 8, 16, 32)]
#: Pairs of columns per thread: one or two 16-byte loads of either column, of 16-bit dtypes.
_PER_THREAD = (4, 16)


def _fitting(configs: list[Any], _args: dict[str, Any], **meta: Any) -> list[Any]:
    """The configurations whose threads have enough to do and can hold it; of small or very large tokens, the nearest one."""
    pairs = meta["QUERIES"] * meta["PAIRS"]
    keep = [config for config in configs if _PER_THREAD[0] <= pairs / (32 * config.num_warps) <= _PER_THREAD[1]]
    return keep or [configs[0] if pairs < 32 * _PER_THREAD[0] else configs[-1]]


@triton.jit
def turn(x_ptr, cos, sin, heads, head_dim, pairs, HEADS: tl.constexpr, PAIRS: tl.constexpr):  # noqa: N803
    """Columns i and pairs + i of every head of one token turned by the i-th angle; HEADS and PAIRS are powers of two."""
    head, pair = tl.arange(0, HEADS), tl.arange(0, PAIRS)
    exists = (head < heads)[:, None] & (pair < pairs)[None, :]
    low_ptr = x_ptr + (head * head_dim)[:, None] + pair[None, :]
    low = tl.load(low_ptr, mask=exists, other=0.0).to(tl.float32)
    high = tl.load(low_ptr + pairs, mask=exists, other=0.0).to(tl.float32)
    # A few heads are fewer elements than threads, several of which then load the same one: none may load what is turned already.
    tl.debug_barrier()
    dtype = x_ptr.dtype.element_ty
    tl.store(low_ptr, narrow(low * cos - high * sin, dtype), mask=exists)
    tl.store(low_ptr + pairs, narrow(high * cos + low * sin, dtype), mask=exists)


@tuned(_CONFIGS, _fitting, key=("tokens", "q_heads", "kv_heads", "head_dim"), overwritten=("q_ptr", "k_ptr"))
@triton.jit
def one_token(
    q_ptr,
    k_ptr,
    cos_ptr,
    sin_ptr,
    tokens,
    q_heads,
    kv_heads,
    head_dim,
    pairs,
    sections: tl.constexpr,
    QUERIES: tl.constexpr,  # noqa: N803
    KEYS: tl.constexpr,  # noqa: N803
    PAIRS: tl.constexpr,  # noqa: N803
):
    """One token per program. sections[i] pairs, after those of the axes before it, take their angle from axis i."""
    token = tl.program_id(0).to(tl.int64)
    pair = tl.arange(0, PAIRS)
    cos = tl.zeros((PAIRS,), dtype=tl.float32)
    sin = tl.zeros((PAIRS,), dtype=tl.float32)
    first = 0
    for axis in tl.static_range(len(sections)):
        # Each pair is loaded for its own axis alone, so that adding them up chooses, and neighbours come in one access.
        mine = (pair >= first) & (pair < first + sections[axis])
        at = (axis * tokens + token) * pairs + pair
        cos += tl.load(cos_ptr + at, mask=mine, other=0.0)
        sin += tl.load(sin_ptr + at, mask=mine, other=0.0)
        first += sections[axis]
    turn(q_ptr + token * (q_heads * head_dim), cos[None, :], sin[None, :], q_heads, head_dim, pairs, QUERIES, PAIRS)
    turn(k_ptr + token * (kv_heads * head_dim), cos[None, :], sin[None, :], kv_heads, head_dim, pairs, KEYS, PAIRS)


def mrope(
    q: "Tensor", k: "Tensor", cos: "Tensor", sin: "Tensor", head_dim: int, sections: tuple[int, ...]
) -> "tuple[Tensor, Tensor]":
    """q and k [tokens, heads * head_dim] turned by the angles of cos and sin fp32 [axes, tokens, pairs], all contiguous."""
    tokens, pairs = cos.shape[1:]
    q_heads, kv_heads = q.shape[1] // head_dim, k.shape[1] // head_dim
    queries, keys, block = (triton.next_power_of_2(count) for count in (q_heads, kv_heads, pairs))
    one_token[(tokens,)](
        q, k, cos, sin, tokens, q_heads, kv_heads, head_dim, pairs, sections=sections, QUERIES=queries, KEYS=keys, PAIRS=block
    )
    return q, k
