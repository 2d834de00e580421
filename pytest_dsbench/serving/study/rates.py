"""Rates of the study: the formulas as written, for one configuration or for arrays of them.

All of them are the study's, in the symbols of docs/serving.md, section "The published variant"; seconds, bytes and FLOP.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...record import Record
from .constants import Gpu, Nic, Policy, Study, load

#: Numbers, names or truths of configurations: one value or an array of any shape.
Values = NDArray[Any]

#: The matrix units take this many rows at least.
_TILE = 128
#: Bytes of elements of expert weights and of what is sent to them, of accumulators, and of results that are written as bf16.
_EXPERT, _ACCUMULATOR, _WRITTEN = 1, 4, 2


class Point(Record):
    """Configurations: arrays that broadcast against each other."""

    #: B/s, FLOP/s, FLOP/s, op/s of the GPU.
    memory: Values
    bf16: Values
    fp8: Values
    exp2: Values
    #: How attention overlaps, a `Pipeline`.
    pipeline: Values
    #: B/s that reach the GPU.
    network: Values
    #: A `Policy`.
    policy: Values
    #: GPUs that share the experts.
    ep: Values
    #: Bytes of an element of non-expert weights, 1 or 2.
    element: Values
    #: Tokens that MTP proposes in a step, 0 or more.
    mtp: Values
    #: Sequences per GPU.
    batch: Values
    #: Whether the peak of the expert GEMMs is the measured one.
    discounted: bool = False

    @property
    def rows(self) -> Values:
        """Sequences of one pass: b."""
        return np.where(self.policy == "dual", self.batch / 2, self.batch)

    @property
    def tokens(self) -> Values:
        """Tokens of a sequence in one step: q."""
        return 1 + self.mtp

    @property
    def peak(self) -> Values:
        """FLOP/s of what is not an expert: F."""
        return np.where(self.element == 1, self.fp8, self.bf16)


class Rates(Record):
    """What configurations reach."""

    #: Seconds of one layer for the whole batch: t.
    layer: Values
    #: Tokens/s of one user.
    user: Values
    #: Tokens/s of one GPU.
    per_gpu: Values


def point(
    gpu: Gpu,
    nic: Nic,
    policy: Policy,
    ep: ArrayLike,
    non_expert: ArrayLike,
    batch: ArrayLike,
    mtp: ArrayLike = 0,
    discounted: bool = False,
) -> Point:
    """Configurations on one GPU and NIC; `ep`, bytes of non-expert elements, sequences per GPU and MTP tokens may be arrays."""
    return Point(
        memory=np.asarray(gpu.memory),
        bf16=np.asarray(gpu.bf16),
        fp8=np.asarray(gpu.fp8),
        exp2=np.asarray(gpu.exp2),
        pipeline=np.asarray(gpu.pipeline),
        network=np.asarray(nic.bandwidth),
        policy=np.asarray(policy),
        ep=np.asarray(ep),
        element=np.asarray(non_expert),
        mtp=np.asarray(mtp),
        batch=np.asarray(batch),
        discounted=discounted,
    )


def rates(at: Point, study: Study | None = None) -> Rates:
    """The rates at these configurations: raw = 1 / (layers t), and with MTP the s of q tokens that are accepted on average."""
    study = study or load()
    layer = _layer(at, study)
    raw = 1 / (study.model.layers * layer)
    # 1 + sum of a^i for i = 1 .. q - 1.
    accepted = (1 - study.acceptance**at.tokens) / (1 - study.acceptance)
    return Rates(layer=layer, user=raw * accepted, per_gpu=raw * at.batch * accepted / at.tokens)


def _layer(at: Point, study: Study) -> Values:
    """t, by the policy: naive hides the shared expert behind the dispatch; dual the network of one half behind the other half."""
    before, after = _before_attention(at, study), _after_attention(at, study)
    shared, experts = _shared(at, study), _experts(at, study)
    dispatch, combine = _sent(at, study, _EXPERT), _sent(at, study, at.element)
    naive = before + after + np.maximum(dispatch, shared) + experts + combine
    dual = 2 * (np.maximum(dispatch, before + shared) + experts + np.maximum(combine, after))
    return np.where(at.policy == "dual", dual, naive)


def _gemm(at: Point, rows: Values, k: int, n: int, element: Values | int, written: int, peak: Values, count: int = 1) -> Values:
    """Seconds of `count` equal GEMMs, rows x k by k x n: the longer of memory and matrix units."""
    traffic = count * (rows * k * element + k * n * element + rows * n * written) / at.memory
    seconds: Values = np.maximum(traffic, count * 2 * np.maximum(rows, _TILE) * k * n / peak)
    return seconds


def _before_attention(at: Point, study: Study) -> Values:
    """att0, seconds: both projections of the query, its absorption into the latent, and the projection to the latent."""
    model, rows, element, peak = study.model, at.rows * at.tokens, at.element, at.peak
    query = model.heads * (model.qk_nope + model.qk_rope)
    return (
        _gemm(at, rows, model.q_lora_rank, model.q_inner, element, _ACCUMULATOR, peak)
        + _gemm(at, rows, model.q_inner, query, element, _WRITTEN, peak)
        + _gemm(at, rows, model.qk_nope, model.kv_lora_rank, element, _WRITTEN, peak, count=model.heads)
        + _gemm(at, rows, model.hidden, model.kv_lora_rank + model.qk_rope, element, _WRITTEN, peak)
    )


def _after_attention(at: Point, study: Study) -> Values:
    """att1, seconds: attention itself, the way back from the latent, and the output projection."""
    model, rows, element, peak = study.model, at.rows * at.tokens, at.element, at.peak
    return (
        at.rows * _attention(at, study)
        + _gemm(at, rows, model.kv_lora_rank, model.v, element, _WRITTEN, peak, count=model.heads)
        + _gemm(at, rows, model.heads * model.v, model.hidden, element, _WRITTEN, peak)
    )


def _attention(at: Point, study: Study) -> Values:
    """c, seconds of attention per sequence: two products and a softmax over whole chunks; the cache is never waited for."""
    model, chunk = study.model, study.attention.chunk
    chunks = math.ceil(study.context / chunk)
    pairs = model.heads * at.tokens * (chunks * chunk)
    scores = 2 * pairs * (model.kv_lora_rank + model.qk_rope) / at.peak
    values = 2 * pairs * model.kv_lora_rank / at.peak
    # Of each pair one exp2, and two reductions at the same rate.
    softmax = pairs / at.exp2 + 2 * pairs / at.exp2 + chunks * study.attention.reduction
    return np.select(
        [at.pipeline == "three-stage", at.pipeline == "two-stage"],
        [np.maximum(softmax, scores + values), scores + np.maximum(softmax, values)],
        scores + values + softmax,
    )


def _shared(at: Point, study: Study) -> Values:
    """Seconds of the shared expert, which MTP does not widen."""
    return _expert(at, study, at.rows, at.fp8, at.fp8)


def _experts(at: Point, study: Study) -> Values:
    """Seconds of the routed experts of one GPU, each charged the rows of a whole batch."""
    rows = study.model.experts_per_token * at.rows
    up, down = _discounted(at, study, rows) if at.discounted else (at.fp8, at.fp8)
    return np.ceil(study.model.experts / at.ep) * _expert(at, study, rows, up, down)


def _expert(at: Point, study: Study, rows: Values, up: Values, down: Values) -> Values:
    """Seconds of one expert, gate and up as one GEMM; `up` and `down` are the peaks of the two."""
    hidden, width = study.model.hidden, study.model.expert_width
    first = _gemm(at, rows, hidden, 2 * width, _EXPERT, _ACCUMULATOR, up)
    return first + _gemm(at, rows, width, hidden, _EXPERT, _ACCUMULATOR, down)


def _discounted(at: Point, study: Study, rows: Values) -> tuple[Values, Values]:
    """FLOP/s of the two expert GEMMs, by their rows, as the study measured them."""
    table = study.discount
    step = np.searchsorted(table.rows, rows, side="right") - 1
    up, down = (np.asarray(rated)[step] / table.rated * at.fp8 for rated in (table.up, table.down))
    return up, down


def _sent(at: Point, study: Study, element: Values | int) -> Values:
    """Seconds to send each token's hidden state to its experts (dispatch), or back (combine), in elements of so many bytes."""
    model = study.model
    return at.rows * at.tokens * model.experts_per_token * model.hidden * element / at.network
