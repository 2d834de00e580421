"""Linear attention: the gated delta rule by tokens and in chunks, the two halves of the latter, the convolution before it."""

from typing import TYPE_CHECKING

from ...operators.causal_conv1d import CausalConv1d
from ...operators.chunk_delta_rule_output import ChunkDeltaRuleOutput
from ...operators.chunk_gated_delta_rule_state import ChunkGatedDeltaRuleState
from ...operators.gated_delta_rule_update import GatedDeltaRuleUpdate
from ...provider import Launch
from . import native

if TYPE_CHECKING:
    import torch
    from torch import Tensor

#: Tokens of a chunk of the recurrence.
_CHUNK = 64
#: Tokens whose chunks are prepared together on a CPU: few enough for its cache.
_AT_ONCE = 1024


def spans(tokens: int, chunk: int, device: "torch.device") -> list[slice]:
    """The tokens of whole chunks to prepare together: as many as a cache holds on a CPU, all of them elsewhere."""
    step = max(_AT_ONCE // chunk, 1) * chunk if device.type == "cpu" else tokens
    return [slice(start, min(start + step, tokens)) for start in range(0, tokens, step)]


def in_chunks(x: "Tensor", axis: int, size: int) -> "Tensor":
    """x with `axis` split in [chunks, size]; a short last chunk is padded with zeros."""
    from torch.nn.functional import pad

    padded = pad(x, (0, 0) * (x.dim() - axis - 1) + (0, -x.shape[axis] % size))
    return padded.view(*x.shape[:axis], -1, size, *x.shape[axis + 1 :])


@native(CausalConv1d)
def _causal_conv1d(op: CausalConv1d, x: "Tensor", weight: "Tensor", bias: "Tensor", initial_state: "Tensor") -> Launch:
    import torch
    from torch.nn.functional import conv1d, silu

    def launch() -> "Tensor":
        sums = conv1d(torch.cat([initial_state[0], x], 1), weight[:, None], bias, groups=op.channels)
        return silu(sums, inplace=True)

    return launch


@native(GatedDeltaRuleUpdate, inplace=("initial_state",))
def _gated_delta_rule_update(
    op: GatedDeltaRuleUpdate,
    a_log: "Tensor",
    dt_bias: "Tensor",
    a: "Tensor",
    b: "Tensor",
    q: "Tensor",
    k: "Tensor",
    v: "Tensor",
    initial_state: "Tensor",
    initial_state_indices: "Tensor",
) -> Launch:
    import torch
    from torch.nn.functional import normalize, softplus

    advance = _one_step if op.tokens == 1 else _by_chunks
    ratio = op.v_heads // op.q_heads
    pieces = spans(op.tokens, _CHUNK, q.device)

    def steps(some: slice, state: "Tensor") -> "Tensor":
        """out of some tokens; their last state is left in `state`."""
        # Heads before tokens, queries and keys of length one and repeated for every value head.
        query, key = (normalize(x[:, some].float(), dim=-1, eps=1e-6).repeat_interleave(ratio, 2).transpose(1, 2) for x in (q, k))
        log_decay = (-a_log.exp() * softplus(a[:, some].float() + dt_bias.float())).transpose(1, 2)
        beta = b[:, some].float().sigmoid().transpose(1, 2)[..., None]
        value = v[:, some].float().transpose(1, 2)
        out = advance(query * op.key_dim**-0.5, key, value, log_decay, beta, state)
        return out.transpose(1, 2).to(v.dtype)

    def launch() -> tuple["Tensor", "Tensor"]:
        rows = initial_state_indices.long()
        state = initial_state[rows]
        outs = [steps(some, state) for some in pieces]
        initial_state.index_copy_(0, rows, state)
        return outs[0] if len(outs) == 1 else torch.cat(outs, 1), initial_state

    return launch


def _one_step(query: "Tensor", key: "Tensor", value: "Tensor", log_decay: "Tensor", beta: "Tensor", state: "Tensor") -> "Tensor":
    """The recurrence by its formula for sequences of one token; shapes as below."""
    state.mul_(log_decay.exp()[..., None])
    change = beta * (value - key @ state)
    state.addcmul_(key.transpose(-1, -2), change)
    return query @ state


def _by_chunks(query: "Tensor", key: "Tensor", value: "Tensor", log_decay: "Tensor", beta: "Tensor", state: "Tensor") -> "Tensor":
    """The recurrence with the tokens of a chunk solved for all at once, so that only chunks follow each other.

    query, key [batch, heads, tokens, key_dim], value [.., value_dim], log_decay [..], beta [.., 1], all fp32; returns out as
    value and leaves the last state in `state` [batch, heads, key_dim, value_dim].
    """
    import torch

    tokens = query.shape[2]
    size = min(tokens, _CHUNK)
    # Padding changes no state: keys of zeros, and nothing fades.
    query, key, value, log_decay, beta = (in_chunks(x, 2, size) for x in (query, key, value, log_decay, beta))
    since_start = log_decay.cumsum(-1).exp()[..., None]
    # What token i sees of token j; sums of the steps between the two, since differences of long sums would be rounded.
    fade = log_decay[..., None].expand(*log_decay.shape, size).tril(-1).cumsum(-2).exp().tril()
    # What each token writes, given what those before it in the chunk write: a triangular system for every chunk.
    overlap = beta * (key @ key.transpose(-1, -2)) * fade
    right = torch.cat([beta * value, beta * since_start * key], -1)
    solved = torch.linalg.solve_triangular(overlap, right, upper=False, unitriangular=True)
    writes, reads = solved.split([value.shape[-1], key.shape[-1]], -1)
    scores = (query @ key.transpose(-1, -2)) * fade
    query, key = query * since_start, key * fade[..., -1, :, None]
    out = torch.empty_like(value)
    for n in range(value.shape[2]):
        change = writes[:, :, n] - reads[:, :, n] @ state
        out[:, :, n] = query[:, :, n] @ state + scores[:, :, n] @ change
        state.mul_(since_start[:, :, n, -1:]).add_(key[:, :, n].transpose(-1, -2) @ change)
    return out.flatten(2, 3)[:, :, :tokens]


@native(ChunkGatedDeltaRuleState, inplace=("initial_state",))
def _chunk_gated_delta_rule_state(
    op: ChunkGatedDeltaRuleState,
    k: "Tensor",
    w: "Tensor",
    u: "Tensor",
    g: "Tensor",
    initial_state: "Tensor",
    initial_state_indices: "Tensor",
) -> Launch:
    import torch

    token = torch.arange(op.tokens, device=g.device)
    last = (token // op.chunk * op.chunk + op.chunk - 1).clamp_max(op.tokens - 1)

    def launch() -> tuple["Tensor", "Tensor", "Tensor"]:
        h = u.new_empty((op.batch, op.chunks, *initial_state.shape[1:]))
        v_new = torch.empty_like(u)
        rows = initial_state_indices.long()
        state = initial_state[rows]
        key = k.repeat_interleave(op.v_heads // op.k_heads, 2)
        until_last = g[:, last] - g
        fade = until_last.exp().masked_fill(until_last > 0, 0.0)[..., None]
        kept = g[:, last[:: op.chunk]].exp()[..., None, None]
        for n in range(op.chunks):
            some = slice(n * op.chunk, (n + 1) * op.chunk)
            h[:, n] = state
            change = u[:, some] - (w[:, some].transpose(1, 2) @ h[:, n]).transpose(1, 2)
            v_new[:, some] = change
            faded = (change * fade[:, some]).to(u.dtype).transpose(1, 2)
            state.mul_(kept[:, n]).add_(key[:, some].permute(0, 2, 3, 1) @ faded)
        initial_state.index_copy_(0, rows, state)
        return h, v_new, initial_state

    return launch


@native(ChunkDeltaRuleOutput)
def _chunk_delta_rule_output(op: ChunkDeltaRuleOutput, q: "Tensor", k: "Tensor", v: "Tensor", h: "Tensor", g: "Tensor") -> Launch:
    import torch

    ratio = op.v_heads // op.q_heads
    past = torch.ones((op.chunk, op.chunk), dtype=torch.bool, device=g.device).tril()
    pieces = spans(op.tokens, op.chunk, q.device)

    def part(some: slice) -> "Tensor":
        """out of whole chunks of tokens, or of the last ones."""
        # Heads before tokens: [batch, chunks, heads, tokens of the chunk, ..]; a short chunk is padded behind its end.
        query, key, value, left = (in_chunks(x[:, some], 1, op.chunk).transpose(2, 3) for x in (q, k, v, g))
        fade = left[..., :, None] - left[..., None, :]
        fade = fade.masked_fill(~past | (fade > 0), -torch.inf).exp()
        # In fp32, since a product of 16 bits is rounded before it fades, and A would be rounded twice.
        scores = query.float() @ key.float().transpose(-1, -2)
        weights = (scores.repeat_interleave(ratio, 2) * fade).to(v.dtype)
        states = h[:, some.start // op.chunk : -(-some.stop // op.chunk)]
        carried = left.exp()[..., None] * (query.repeat_interleave(ratio, 2) @ states)
        out: Tensor = (carried + weights @ value) * op.key_dim**-0.5
        return out.to(v.dtype).transpose(2, 3).flatten(1, 2)[:, : some.stop - some.start]

    def launch() -> "Tensor":
        outs = [part(some) for some in pieces]
        return outs[0] if len(outs) == 1 else torch.cat(outs, 1)

    return launch
