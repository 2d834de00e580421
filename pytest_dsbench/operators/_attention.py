"""Attention of one sequence by the formula, and how far from it a kernel may be."""

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..operator import Tolerance
from ..units import FloatDtype

if TYPE_CHECKING:
    from torch import Tensor

#: Share of an element, and of the root mean square around it, that it may be off.
_NEAR = 2**-6
#: Scores held at a time; with their exponentials they take 64 MiB in fp32.
_CHUNK = 2**23
#: Elements compared at a time: few enough for a CPU's cache.
_COMPARED = 2**20


def attend(q: "Tensor", k: "Tensor", v: "Tensor", causal: bool = False, scale: float | None = None) -> "Tensor":
    """softmax(scale q k^T) v in fp32, over whole rows of scores, some queries at a time.

    q [queries, q_heads, head_dim], k [keys, kv_heads, head_dim], v [keys, kv_heads, columns], result [queries, q_heads,
    columns]; scale is 1 / sqrt(head_dim) unless given. Where `causal`, the queries are the last tokens of the sequence: the
    last one sees every key.
    """
    import torch

    (queries, q_heads, head_dim), (length, kv_heads, columns) = q.shape, v.shape
    group, factor = q_heads // kv_heads, head_dim**-0.5 if scale is None else scale
    keys, values = k.float().permute(1, 2, 0), v.float().transpose(0, 1)
    out = torch.empty((queries, q_heads, columns), dtype=torch.float32, device=q.device)
    step = max(1, _CHUNK // (q_heads * length))
    for first in range(0, queries, step):
        last = min(first + step, queries)
        # Keys that the last of these queries sees; the ones before it see fewer.
        seen = length - queries + last if causal else length
        # All heads that share keys go into one product, [kv_heads, group * queries, seen].
        some = q[first:last].float().mul(factor).view(-1, kv_heads, group, head_dim).permute(1, 2, 0, 3)
        scores = some.reshape(kv_heads, -1, head_dim) @ keys[..., :seen]
        if causal:
            own = torch.arange(seen - (last - first), seen, device=q.device).repeat(group)
            scores.masked_fill_(torch.arange(seen, device=q.device) > own[:, None], float("-inf"))
        mixed = scores.softmax(-1) @ values[:, :seen]
        out[first:last] = mixed.view(kv_heads, group, -1, columns).permute(2, 0, 1, 3).reshape(-1, q_heads, columns)
    return out


def visible(queries: int, keys: int, causal: bool) -> int:
    """Pairs of a query and a key that it sees; where `causal`, the queries are the last tokens of their sequence."""
    # Of the last square of scores, those above the diagonal are not needed.
    return queries * keys - (queries * (queries - 1) // 2 if causal else 0)


def scores(queries: Iterable[int], keys: Iterable[int], causal: bool) -> int:
    """Such pairs of all sequences of a batch; sequences that are alike, as in a batch of one length, are counted once."""
    queries, keys = tuple(queries), tuple(keys)
    if len(queries) == len(keys) and alike(queries) and alike(keys):
        return len(keys) * visible(queries[0], keys[0], causal)
    pairs = Counter(zip(queries, keys, strict=True))
    return sum(times * visible(new, seen, causal) for (new, seen), times in pairs.items())


def alike(lengths: tuple[int, ...]) -> bool:
    """Whether there are some and all are equal, which is quicker to see than how often each is there."""
    return bool(lengths) and lengths.count(lengths[0]) == len(lengths)


def rounding(dtype: FloatDtype, bf16: float) -> Tolerance:
    """For outputs over contexts of many lengths: rel_l2 is `bf16` for bf16, which rounds eight times coarser than fp16.

    A query that sees few keys has an output many times larger than most, and its rounding is larger in proportion. So the bound
    on single elements only keeps out what is grossly wrong here; `row_flaw` has the one that binds.
    """
    return Tolerance(rtol=_NEAR, rms=0.5, rel_l2=bf16 if dtype == "bf16" else bf16 / 4)


def row_flaw(got: "Tensor", want: "Tensor") -> str | None:
    """Holds every element against 2^-6 of itself and of the root mean square of its token, or of all tokens where that is larger.

    got, want [tokens, heads, columns].
    """
    overall = float(want.norm()) / want.numel() ** 0.5
    (_, heads, columns), step = want.shape, max(1, _COMPARED // want[0].numel())
    for first in range(0, len(want), step):
        r, o = want[first : first + step].float(), got[first : first + step].float()
        allowed = _NEAR * (r.abs() + r.square().mean((1, 2), keepdim=True).sqrt().clamp_min(overall))
        off = (o - r).abs()
        if not bool((off <= allowed).all()):
            at = int((off - allowed).nan_to_num(float("inf")).argmax())
            is_, right, apart, most = (float(values.flatten()[at]) for values in (o, r, off, allowed))
            place = f"out[{first + at // (heads * columns)}, {at // columns % heads}, {at % columns}]"
            return f"{place} is {is_:.5g} and the reference {right:.5g}: {apart:.3g} apart, over the {most:.3g} allowed there"
    return None
