"""causal_conv1d: a short convolution over the tokens of each channel, then silu; every input is read in 16-byte pieces, twice.

Channels lie one behind the other without gaps, so most begin in the middle of a 16-byte piece. Programs take aligned groups of
eight elements all the same: a group where a channel begins or ends is read once for each of the two and written in parts. The
taps of a group come from itself and the one before it, both in registers, since loads shifted by a token are never aligned.
"""

from typing import TYPE_CHECKING

import torch
import triton
import triton.language as tl

from .launch import narrow, tuned

if TYPE_CHECKING:
    from torch import Tensor

#: The widest filter: its taps reach into the group before, no further.
WIDEST = 9

_TILES = ((512, 2), (1024, 2), (1024, 4), (2048, 4), (2048, 8), (4096, 8))
#: TILE elements per program, one or two groups per thread.
_CONFIGS = [triton.Config({"TILE": tile, "enable_fp_fusion": True}, num_warps=warps) for tile, warps in _TILES]


@triton.jit
def apart(x):
    """The eight columns of x [groups, 8]."""
    even, odd = tl.split(tl.reshape(x, (x.shape[0], 2, 2, 2)))
    x04, x26 = tl.split(even)
    x15, x37 = tl.split(odd)
    x0, x4 = tl.split(x04)
    x1, x5 = tl.split(x15)
    x2, x6 = tl.split(x26)
    x3, x7 = tl.split(x37)
    return x0, x1, x2, x3, x4, x5, x6, x7


@triton.jit
def together(x):
    """Eight columns [groups] as one tensor [groups, 8]."""
    even = tl.join(tl.join(x[0], x[4]), tl.join(x[2], x[6]))
    odd = tl.join(tl.join(x[1], x[5]), tl.join(x[3], x[7]))
    return tl.reshape(tl.join(even, odd), (x[0].shape[0], 8))


@triton.jit
def silu(x):
    """x / (1 + exp(-x)), without overflow where x is very negative."""
    return x / (1.0 + tl.exp(tl.minimum(-x, 80.0)))


@triton.jit
def held(token, exists, BEFORE: tl.constexpr):  # noqa: N803
    """Where the state holds a token: the last BEFORE of those below zero."""
    return exists[:, None] & (token < 0) & (token >= -BEFORE)


@tuned(_CONFIGS, key=("tokens", "channels"))
@triton.jit
def grouped(
    x_ptr,
    weight_ptr,
    bias_ptr,
    state_ptr,
    out_ptr,
    tokens,
    channels,
    elements,
    WIDTH: tl.constexpr,  # noqa: N803
    UNEVEN: tl.constexpr,  # noqa: N803
    MOST: tl.constexpr,  # noqa: N803
    TILE: tl.constexpr,  # noqa: N803
):
    """TILE // 8 groups of one channel, or all groups of several; MOST is the groups of a channel up to a power of two.

    UNEVEN: whether channels begin within groups. elements: of x, tokens * channels.
    """
    GROUPS: tl.constexpr = min(TILE // 8, MOST)  # noqa: N806
    BEFORE: tl.constexpr = WIDTH - 1  # noqa: N806
    number = tl.arange(0, TILE // 8)
    # A channel may begin in the last element of its first group.
    pieces = tl.cdiv(tokens + 7, 8 * GROUPS) if UNEVEN else tl.cdiv(tokens, 8 * GROUPS)
    piece = tl.program_id(0) % pieces
    channel = (tl.program_id(0) // pieces).to(tl.int64) * (TILE // 8 // GROUPS) + number // GROUPS
    begin = channel * tokens
    group = (begin >> 3) + piece * GROUPS + number % GROUPS
    # Which tokens these are: some below zero where the channel begins within the group.
    first = (group * 8 - begin).to(tl.int32)
    token = first[:, None] + tl.arange(0, 8)[None, :]
    exists = (channel < channels) & (first < tokens)
    at = (group * 8)[:, None] + tl.arange(0, 8)[None, :]
    inside = exists[:, None]
    if UNEVEN:
        # The last group of all may be short; where 16 divides `elements`, the compiler knows that it is whole.
        inside = inside & (at < elements)
    bias = tl.load(bias_ptr + channel, mask=exists, other=0.0).to(tl.float32)
    weights = ()
    for j in tl.static_range(WIDTH):
        weight = tl.load(weight_ptr + channel * WIDTH + j, mask=exists, other=0.0).to(tl.float32)
        weights += (weight,)  # type: ignore[assignment]
    now = tl.load(x_ptr + at, mask=inside, other=0.0).to(tl.float32)
    before = tl.load(x_ptr + at - 8, mask=(exists & (group > 0))[:, None], other=0.0).to(tl.float32)
    if piece * GROUPS < 2:
        # What lies before the channel in memory is the end of another one; what came before it in time is in the state.
        state = state_ptr + (channel * BEFORE)[:, None] + BEFORE + token
        now = tl.where(token < 0, tl.load(state, mask=held(token, exists, BEFORE), other=0.0).to(tl.float32), now)
        past = tl.load(state - 8, mask=held(token - 8, exists, BEFORE), other=0.0).to(tl.float32)
        before = tl.where(token < 8, past, before)
    taps = apart(before) + apart(now)
    sums = (bias, bias, bias, bias, bias, bias, bias, bias)
    for j in tl.static_range(WIDTH):
        sums = added(sums, weights[j], taps, 8 - BEFORE + j)
    out = narrow(silu(together(sums)), out_ptr.dtype.element_ty)
    whole = exists & (first >= 0) & (first + 8 <= tokens)
    tl.store(out_ptr + at, out, mask=whole[:, None])
    # The last piece may be empty: a channel that begins with a group ends up to seven elements earlier.
    if UNEVEN and ((piece == 0) | (piece >= pieces - 2)):
        part = (exists & (whole == 0))[:, None] & (token >= 0) & (token < tokens)
        tl.store(out_ptr + at, out, mask=part)


@triton.jit
def added(sums, weight, taps, START: tl.constexpr):  # noqa: N803
    """sums + weight * taps[START:START + 8], column by column."""
    return (
        sums[0] + weight * taps[START],
        sums[1] + weight * taps[START + 1],
        sums[2] + weight * taps[START + 2],
        sums[3] + weight * taps[START + 3],
        sums[4] + weight * taps[START + 4],
        sums[5] + weight * taps[START + 5],
        sums[6] + weight * taps[START + 6],
        sums[7] + weight * taps[START + 7],
    )


def causal_conv1d(x: "Tensor", weight: "Tensor", bias: "Tensor", initial_state: "Tensor") -> "Tensor":
    """silu(convolution + bias) of x [channels, tokens], weight [channels, width], initial_state [1, channels, width - 1].

    All of them contiguous.
    """
    channels, tokens = x.shape
    out = torch.empty_like(x)
    uneven = tokens % 8 != 0
    most = triton.next_power_of_2(triton.cdiv(tokens + 7 * uneven, 8))

    def grid(meta: dict[str, int]) -> tuple[int]:
        groups = min(meta["TILE"] // 8, most)
        return (triton.cdiv(channels, meta["TILE"] // 8 // groups) * triton.cdiv(tokens + 7 * uneven, 8 * groups),)

    grouped[grid](
        x, weight, bias, initial_state, out, tokens, channels, x.numel(), WIDTH=weight.shape[1], UNEVEN=uneven, MOST=most
    )
    return out
