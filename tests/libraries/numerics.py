"""What the stand-ins compute, by torch in fp32, rounded once at the end where nothing else is said."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Power = Callable[[Tensor], Tensor]


def rms(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """fp32."""
    wide = x.float()
    return wide * (wide.square().mean(-1, keepdim=True) + eps).rsqrt() * weight.float()


def layer(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """fp32."""
    return torch.nn.functional.layer_norm(x.float(), x.shape[-1:], weight.float(), bias.float(), eps)


def gated(x: Tensor) -> Tensor:
    """silu of the left half times the right half, fp32."""
    gate, up = x.float().chunk(2, -1)
    return gate * gate.sigmoid() * up


def rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Heads [tokens, heads, head_dim] turned half-split by [tokens, pairs], in the dtype of the tables; the rest stays."""
    pairs = cos.shape[-1]
    left, right = x[..., :pairs].to(cos.dtype), x[..., pairs : 2 * pairs].to(cos.dtype)
    c, s = cos[:, None], sin[:, None]
    return torch.cat([left * c - right * s, right * c + left * s, x[..., 2 * pairs :].to(cos.dtype)], -1).to(x.dtype)


def turned(heads: Tensor, table: Tensor, neox: bool) -> Tensor:
    """fp32: heads [tokens, heads, dim] by the row of each token, cosines and then sines; in pairs by complex multiplication."""
    cos, sin = table.chunk(2, -1)
    if neox:
        return rotated(heads.float(), cos, sin)
    pairs = torch.view_as_complex(heads.float().unflatten(-1, (-1, 2)).contiguous())
    return torch.view_as_real(pairs * torch.complex(cos, sin)[:, None]).flatten(-2)


def attention(q: Tensor, k: Tensor, v: Tensor, causal: bool = False, scale: float | None = None) -> Tensor:
    """One sequence: q [queries, heads, dim], k and v [keys, kv_heads, dim]; the mask is aligned at the bottom right."""
    ratio = q.shape[1] // k.shape[1]
    key, value = (x.float().repeat_interleave(ratio, 1).transpose(0, 1) for x in (k, v))
    scores = q.float().transpose(0, 1) @ key.mT * (q.shape[-1] ** -0.5 if scale is None else scale)
    if causal:
        queries, keys = scores.shape[-2:]
        scores.masked_fill_(~torch.ones(queries, keys, dtype=torch.bool).tril(keys - queries), -torch.inf)
    return (scores.softmax(-1) @ value).transpose(0, 1).to(q.dtype)


def paged(cache: Tensor, pages: Tensor, length: int) -> Tensor:
    """The keys or values of one sequence: cache [pages, page_size, heads, dim]."""
    return cache[pages.long()].flatten(0, 1)[:length]


def store(key: Tensor, value: Tensor, key_cache: Tensor, value_cache: Tensor, slots: Tensor) -> None:
    for new, cache in ((key, key_cache), (value, value_cache)):
        cache.view(-1, *cache.shape[2:])[slots.long()] = new


def aligned(topk_ids: Tensor, experts: int, block: int) -> tuple[list[int], list[int]]:
    """Flat positions by expert, the last of an expert first, each expert's padded to whole blocks; the expert of each block."""
    flat = topk_ids.flatten().tolist()
    order: list[int] = []
    owners: list[int] = []
    for expert in range(experts):
        mine = [place for place, one in enumerate(flat) if one == expert][::-1]
        blocks = -(-len(mine) // block)
        order += mine + [len(flat)] * (blocks * block - len(mine))
        owners += [expert] * blocks
    return order, owners


def fill(out: Tensor, values: Sequence[int], rest: int) -> None:
    """The values first, then `rest`."""
    out.fill_(rest)
    out[: len(values)] = torch.tensor(values, dtype=out.dtype)


def route(weights: Tensor, ids: Tensor, gating: Tensor, renormalize: bool, bias: Tensor | None = None) -> None:
    """The bias shifts the logits, so that the weights know of it."""
    assert weights.dtype == torch.float32 and ids.dtype == torch.int32
    logits = gating.float() if bias is None else gating.float() + bias
    probability, chosen = logits.softmax(-1).topk(ids.shape[1])
    weights.copy_(probability / probability.sum(-1, keepdim=True) if renormalize else probability)
    ids.copy_(chosen)


def gate(logits: Tensor, bias: Tensor, groups: int, kept: int, top_k: int, scaling: float) -> tuple[Tensor, Tensor]:
    """DeepSeek-V3's router row by row, in the dtype of the logits but for the fp32 shares; its choice last to first."""
    weights, ids = torch.empty(len(logits), top_k), torch.empty(len(logits), top_k, dtype=torch.int32)
    for token, row in enumerate(logits.float().sigmoid().to(logits.dtype)):
        choice = row + bias
        parts = [part.sort(descending=True).values for part in choice.split(len(row) // groups)]
        totals = [float(sum(part[:2])) for part in parts]
        stay = sorted(range(groups), key=lambda group: -totals[group])[:kept]
        able = [expert for expert in range(len(row)) if expert // (len(row) // groups) in stay]
        best = sorted(able, key=lambda expert: -float(choice[expert]))[:top_k][::-1]
        ids[token] = torch.tensor(best)
        weights[token] = row[best].float() / row[best].float().sum() * scaling
    return weights, ids


def by_columns(rows: Tensor, columns: Tensor) -> Tensor:
    """rows columns, fp32: the second is read column by column, whatever its strides say."""
    strides = (*columns.stride()[:-2], 1, columns.shape[-2])
    return (rows.double() @ columns.as_strided(columns.shape, strides).double()).float()


def experts(x: Tensor, w1: Tensor, w2: Tensor, weights: Tensor, ids: Tensor) -> Tensor:
    """Gate rows of w1 first; every intermediate is rounded, as kernels do."""
    out = torch.zeros(x.shape, dtype=torch.float32)
    for token, place in torch.cartesian_prod(torch.arange(len(ids)), torch.arange(ids.shape[1])).tolist():
        expert = int(ids[token, place])
        act = gated((x[token].float() @ w1[expert].float().T).to(x.dtype)).to(x.dtype)
        out[token] += ((act.float() @ w2[expert].float().T) * weights[token, place]).to(x.dtype)
    return out.to(x.dtype)


def chunked_state(
    k: Tensor, w: Tensor, u: Tensor, g: Tensor, initial: Tensor, chunk: int, power: Power
) -> tuple[Tensor, Tensor, Tensor]:
    """h, v_new and the last state of the chunked delta rule; `power` is what the kernel does to its gates."""
    ratio, state, hs, v_new = u.shape[2] // k.shape[2], initial.float(), [], torch.empty_like(u)
    for start in range(0, k.shape[1], chunk):
        some = slice(start, start + chunk)
        key = k[:, some].float().repeat_interleave(ratio, 2).transpose(1, 2)
        left = g[:, some].transpose(1, 2)[..., None]
        hs.append(state.to(u.dtype))
        change = (u[:, some].float().transpose(1, 2)) - w[:, some].float().transpose(1, 2) @ hs[-1].float()
        v_new[:, some] = change.transpose(1, 2).to(u.dtype)
        faded = (change * power(left[:, :, -1:] - left)).to(u.dtype).float()
        state = power(left[:, :, -1:]) * state + key.mT @ faded
    return torch.stack(hs, 1), v_new, state


def chunked_output(q: Tensor, k: Tensor, v: Tensor, h: Tensor, g: Tensor, chunk: int, power: Power) -> Tensor:
    ratio, out = v.shape[2] // q.shape[2], torch.empty_like(v)
    for number, start in enumerate(range(0, q.shape[1], chunk)):
        some = slice(start, start + chunk)
        query, key = (x[:, some].float().repeat_interleave(ratio, 2).transpose(1, 2) for x in (q, k))
        left = g[:, some].transpose(1, 2)
        fade = power((left[..., :, None] - left[..., None, :]).clamp_max(0)).tril()
        weights = (query @ key.mT * fade).to(v.dtype).float()
        carried = power(left)[..., None] * (query @ h[:, number].float())
        out[:, some] = (
            ((carried + weights @ v[:, some].float().transpose(1, 2)) * q.shape[-1] ** -0.5).transpose(1, 2).to(v.dtype)
        )
    return out


def stepped(q: Tensor, k: Tensor, v: Tensor, decay: Tensor, beta: Tensor, state: Tensor, short: float) -> tuple[Tensor, Tensor]:
    """The delta rule step by step, queries and keys normalised, from state fp32 [batch, v_heads, key_dim, value_dim]."""
    ratio, out = v.shape[2] // q.shape[2], torch.empty_like(v)
    query, key = (
        (x.float() * (x.float().square().sum(-1, keepdim=True) + short).rsqrt()).repeat_interleave(ratio, 2) for x in (q, k)
    )
    for step in range(q.shape[1]):
        state = state * decay[:, step, :, None, None]
        known = torch.einsum("bhk,bhkv->bhv", key[:, step], state)
        change = beta[:, step, :, None] * (v[:, step].float() - known)
        state = state + key[:, step, :, :, None] * change[:, :, None]
        out[:, step] = (torch.einsum("bhk,bhkv->bhv", query[:, step], state) * q.shape[-1] ** -0.5).to(v.dtype)
    return out, state
