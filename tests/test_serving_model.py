"""The corrected model of serving: one step computed again in plain Python, totals that are known, and what can never be."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import product
from math import ceil
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_dsbench.hardware import Hardware
from pytest_dsbench.hardware import named as gpu_named
from pytest_dsbench.measurement import read_back
from pytest_dsbench.mistake import Mistake
from pytest_dsbench.serving import capacity
from pytest_dsbench.serving import grid as grids
from pytest_dsbench.serving.configuration import Configuration
from pytest_dsbench.serving.estimate import Estimate, estimate
from pytest_dsbench.serving.layer import (
    Op,
    Pass,
    Split,
    attention,
    dense,
    experts,
    head,
    joint,
    router,
    shared,
)
from pytest_dsbench.serving.model.architecture import Architecture
from pytest_dsbench.serving.model.architecture import named as model_named
from pytest_dsbench.serving.model.architecture import names as model_names
from pytest_dsbench.serving.precision import CACHE_BYTES, WEIGHTS, Precision
from pytest_dsbench.serving.precision import named as precision_named
from pytest_dsbench.serving.price import links
from pytest_dsbench.serving.price.assumed import Assumed, defaults
from pytest_dsbench.serving.price.nic import Nic
from pytest_dsbench.serving.price.nic import named as nic_named
from pytest_dsbench.serving.search import axes
from pytest_dsbench.serving.sections import Section

H800, H200, CX7 = gpu_named("h800"), gpu_named("h200"), nic_named("cx7")
DEEPSEEK, QWEN, MOE = model_named("deepseek_v3"), model_named("qwen3_8b"), model_named("qwen3_30b_a3b")
FP8, BF16 = precision_named("fp8"), precision_named("bf16")
ASSUMED = defaults()


def asked(model: Architecture = DEEPSEEK, ep: int | None = 144, assumed: Assumed = ASSUMED, **others: Any) -> Configuration:
    """A configuration; DeepSeek-V3 at EP144 on H800 where nothing else is said."""
    given = {"gpu": H800, "nic": CX7, "precision": FP8, "policy": "dual", "batch": 88, "context": 4989, **others}
    return Configuration(model=model, split=axes.split(model, ep, None, assumed), **given)


def section(found: Estimate, kind: str, guess: bool = False) -> Section:
    return next(one for one in found.sections if one.kind == kind and one.guess == guess)


# -- one decode step, from first principles --------------------------------------------------------------------------------------

BANDWIDTH, LAUNCH, TILE = 3.35e12, 1.5e-6, 64
PEAK = {"fp8": 1979e12, "bf16": 989.5e12, "fp32": 67e12}
#: Memory and compute.
REACHED = {"gemm": (0.75, 0.70), "attention": (0.80, 0.65), "moe": (0.70, 0.60), "other": (0.60, 0.50)}


@dataclass
class Kernel:
    """One kernel: bytes, FLOP, and how it is priced."""

    bytes: float
    flop: float
    unit: str = "fp32"
    kind: str = "other"
    launches: int = 1
    #: rows that each weight is multiplied with
    rows: float = 0
    #: seconds of the units, where they are no plain product
    units: float | None = None

    @property
    def seconds(self) -> float:
        """As it is assumed."""
        memory, compute = REACHED[self.kind]
        whole = ceil(self.rows / TILE) * TILE / self.rows if self.rows else 1
        units = self.units if self.units is not None else self.flop / PEAK[self.unit] * whole
        return max(units / compute, self.bytes / BANDWIDTH / memory) + self.launches * LAUNCH


@dataclass
class Step:
    """DeepSeek-V3 in decode on one H800 of 144: `tokens` sequences in each of two micro-batches, `keys` in each cache."""

    tokens: int
    keys: int
    kernels: dict[str, Kernel] = field(default_factory=dict)

    def __post_init__(self) -> None:
        t, n = self.tokens, self.keys
        self.norm("input_layernorm", 7168)
        self.linear("fused_qkv_a_proj", 1536 + 512 + 64, 7168)
        self.plain_norm("q_a_layernorm", 1536)
        self.plain_norm("kv_a_layernorm", 512)
        self.linear("q_b_proj", 128 * (128 + 64), 1536)
        self.heads("q_nope*w_kc", 512, 128)
        # 128 heads of queries and one key are turned, 64 columns each, bf16, in place; positions and rows of the table.
        turned = t * 129 * 64
        self.kernels["rotary_emb"] = Kernel(2 * 2 * turned + 8 * t + 4 * t * 64, 3 * turned)
        # The latent and its rotated columns, bf16, read and written, and the slot.
        self.kernels["kv_cache"] = Kernel(2 * 2 * t * 576 + 8 * t, 0)
        self.kernels["attn_mqa"] = self.latent(t, n)
        self.heads("attn_out*w_vc", 128, 512)
        self.linear("o_proj", 7168, 128 * 128)
        self.norm("post_attention_layernorm", 7168)
        self.plain("router", 256, 7168)
        # fp32 logits and bias in, weights and ids of 8 experts out.
        self.kernels["topk"] = Kernel(4 * (t + 1) * 256 + 8 * t * 8, t * (4 * 256 + 8 + 3 * 8 - 1))
        self.mlp("shared", 2048)
        self.mlp("mlp", 18432)
        self.plain("lm_head", 129280, 7168)
        self.kernels["experts"] = self.routed(t)

    def norm(self, name: str, width: int) -> None:
        """With the residual added: two tensors in, two out."""
        self.kernels[name] = Kernel(2 * (4 * self.tokens * width + width), self.tokens * (4 * width + 1))

    def plain_norm(self, name: str, width: int) -> None:
        self.kernels[name] = Kernel(2 * (2 * self.tokens * width + width), self.tokens * (3 * width + 1))

    def linear(self, name: str, n: int, k: int) -> None:
        """fp8 in blocks of 128 with fp32 scales, bf16 out; and the quantising in front of it."""
        t = self.tokens
        self.kernels[f"{name}.quant"] = Kernel(t * (2 * k + k + 4 * k / 128), t * (k + k / 128))
        moved = t * k + n * k + 4 * (t + ceil(n / 128)) * k / 128 + 2 * t * n
        self.kernels[name] = Kernel(moved, 2 * t * n * k, "fp8", "gemm", rows=t)

    def plain(self, name: str, n: int, k: int) -> None:
        """bf16."""
        t = self.tokens
        self.kernels[name] = Kernel(2 * (t * k + n * k + t * n), 2 * t * n * k, "bf16", "gemm", rows=t)

    def heads(self, name: str, n: int, k: int) -> None:
        """A product for each of 128 heads, fp8 with one scale each side, bf16 out."""
        t = self.tokens
        moved = 128 * (t * k + n * k + 2 * t * n) + 8
        self.kernels[name] = Kernel(moved, 128 * 2 * t * n * k, "fp8", "gemm", rows=t)

    def mlp(self, name: str, width: int) -> None:
        self.linear(f"{name}.gate_up", 2 * width, 7168)
        self.kernels[f"{name}.activation"] = Kernel(2 * 3 * self.tokens * width, 5 * self.tokens * width)
        self.linear(f"{name}.down", 7168, width)

    def latent(self, t: int, n: int) -> Kernel:
        """Queries and the cache in once, 512 columns of each head out; two kernels; the softmax beside the second product."""
        pairs = 128 * t * n
        moved = 2 * (t * 128 * 576 + t * n * 576 + t * 128 * 512) + 4 * (t + t * ceil(n / 64))
        scores, mixed = 2 * pairs * 576 / PEAK["bf16"], 2 * pairs * 512 / PEAK["bf16"]
        softmax = 2 * pairs / (132 * 16 * 1.83e9)
        units = scores + max(mixed, softmax)
        return Kernel(moved, 2 * pairs * 1088, "bf16", "attention", launches=2, units=units)

    def routed(self, t: int) -> Kernel:
        """Two experts of 256 on each GPU get the rows of 144 GPUs, a fifth more on the busiest."""
        rows = ceil(t * 144 * 8 / 256 * 2 * 1.2)
        weights = 2 * (3 * 7168 * 2048 + 4 * 3 * 7168 * 2048 / 128**2)
        moved = rows * (7168 + 4 * 56 + 8 + 2 * 7168) + weights
        return Kernel(moved, 2 * rows * 3 * 7168 * 2048, "fp8", "moe", launches=3, rows=rows / 2)

    def of(self, *beginnings: str) -> float:
        """Seconds of the kernels whose names begin so."""
        return sum(kernel.seconds for name, kernel in self.kernels.items() if name.startswith(beginnings))

    def sent(self, value: float) -> float:
        """8 copies of each token, a fifth more of the busiest; 7 of 144 GPUs over NVLink, 136 over the NIC of 50 GB/s."""
        total = 1.2 * self.tokens * 8 * 7168 * value
        return max(total * 136 / 144 / (0.80 * 50e9) + 12e-6, total * 7 / 144 / (0.70 * 200e9) + 5e-6)

    @property
    def before(self) -> float:
        names = ("input", "fused", "q_", "kv_a", "rotary", "kv_cache")
        return self.of(*names)

    @property
    def after(self) -> float:
        return self.of("attn_mqa", "attn_out", "o_proj")

    @property
    def moe_layer(self) -> float:
        dispatch, combine = self.sent(1 + 4 / 128), self.sent(2)
        first = max(dispatch, self.of("shared") + self.before)
        last = max(combine, self.after + self.of("post", "router", "topk"))
        return 2 * (first + self.of("experts") + last)

    @property
    def dense_layer(self) -> float:
        return 2 * (self.before + self.after + self.of("post", "mlp"))

    @property
    def head(self) -> float:
        return 2 * self.of("input", "lm_head")  # the final norm is as wide as that of a layer


HAND = Step(tokens=44, keys=5488)


@cache
def served() -> Estimate:
    return estimate(asked(), ASSUMED)


def test_the_context_of_the_busiest_gpu_is_a_tenth_longer() -> None:
    assert served().context == 5488 == ceil(4989 * 1.1)


def test_every_kernel_is_that_of_first_principles() -> None:
    found = {
        term.name: term for kind in ("dense", "moe", "head") for term in section(served(), kind).terms if term.op is not None
    }
    assert set(found) == {*HAND.kernels, "norm"}
    for name, kernel in HAND.kernels.items():
        term = found[name]
        assert (term.bytes, term.flop) == pytest.approx((kernel.bytes, kernel.flop), rel=1e-12), name
        assert term.seconds == pytest.approx(kernel.seconds, rel=1e-9), name


def test_messages_layers_and_the_step_are_those_of_first_principles() -> None:
    found = served()
    sent = {term.name: term.seconds for term in section(found, "moe").terms if term.op is None}
    assert sent == pytest.approx({"dispatch": HAND.sent(1 + 4 / 128), "combine": HAND.sent(2)}, rel=1e-9)
    seconds = {kind: section(found, kind).seconds for kind in ("dense", "moe", "head")}
    assert seconds == pytest.approx({"dense": HAND.dense_layer, "moe": HAND.moe_layer, "head": HAND.head}, rel=1e-9)
    step = 3 * HAND.dense_layer + 58 * HAND.moe_layer + HAND.head + 1e-3
    assert found.step == pytest.approx(step, rel=1e-9)
    assert (found.user, found.per_gpu) == pytest.approx((1 / step, 88 / step), rel=1e-9)


def test_one_micro_batch_hides_the_shared_experts_alone() -> None:
    hand = Step(tokens=88, keys=5488)
    found = estimate(asked(policy="naive"), ASSUMED)
    dispatch, combine = hand.sent(1 + 4 / 128), hand.sent(2)
    front = hand.before + hand.after + hand.of("post", "router", "topk")
    layer = front + max(dispatch, hand.of("shared")) + hand.of("experts") + combine
    dense_layer, once = hand.dense_layer / 2, hand.head / 2
    assert section(found, "moe").seconds == pytest.approx(layer, rel=1e-9)
    assert found.step == pytest.approx(3 * dense_layer + 58 * layer + once + 1e-3, rel=1e-9)


def test_efficiencies_that_are_shown_are_those_that_were_assumed() -> None:
    for term in section(served(), "moe").terms:
        if term.op is None:
            assert (term.by, term.efficiency) == ("rdma", 0.80)
        elif not term.op.rows:
            memory, compute = REACHED.get(term.op.operator.category, REACHED["other"])
            assert term.efficiency == pytest.approx(memory if term.by == "memory" else compute), term.name
        assert term.overhead == pytest.approx((term.op.launches if term.op else 8) * LAUNCH)


def test_a_step_with_two_guesses() -> None:
    found = estimate(asked(mtp=2), ASSUMED)
    assert found.gained == pytest.approx(1 + 0.85 + 0.85**2)
    assert [(one.kind, one.count, one.guess) for one in found.sections] == [
        ("dense", 3, False), ("moe", 58, False), ("head", 1, False), ("moe", 2, True), ("head", 2, True)
    ]  # fmt: skip
    assert sum(one.count * one.seconds for one in found.sections) + 1e-3 == pytest.approx(found.step, rel=1e-12)
    # What guesses sees one token of each sequence, as a step without guesses does.
    assert section(found, "moe", guess=True).seconds == pytest.approx(HAND.moe_layer, rel=1e-9)
    # The layer that guesses keeps keys of its own.
    assert found.need.cache == 88 * (5488 + 32) * 62 * 576 * 2
    dense_model = estimate(asked(QWEN.replace(draft_layers=1), None, precision=BF16, mtp=2), ASSUMED)
    assert [(one.kind, one.count) for one in dense_model.sections if one.guess] == [("dense", 2), ("head", 2)]


# -- totals that are known -------------------------------------------------------------------------------------------------------


#: Parameters as the checkpoints on Hugging Face have them, without the layer that guesses; and those that are no weight of a
#: product: norms, and the bias of the router.
PARAMETERS = [
    (DEEPSEEK, 671_026_419_200, 61 * (2 * 7168 + 1536 + 512) + 7168 + 58 * 256),
    (MOE, 30_532_122_624, 48 * (2 * 2048 + 2 * 128) + 2048),
    (QWEN, 8_190_735_360, 36 * (2 * 4096 + 2 * 128) + 4096),
]


@pytest.mark.parametrize(("model", "parameters", "small"), PARAMETERS, ids=lambda value: getattr(value, "name", None))
def test_weights_are_the_parameters_of_the_checkpoint(model: Architecture, parameters: int, small: int) -> None:
    split = Split(ep=1, local=model.moe.experts) if model.moe is not None else None
    assert capacity.weights(model, 1, split, BF16) == 2 * (parameters - small)


def test_fp8_weights_keep_embedding_head_and_router_in_bf16() -> None:
    wide = 2 * 129280 * 7168 + 58 * 256 * 7168
    other = 671_026_419_200 - PARAMETERS[0][2] - wide
    expected = 2 * wide + other * (1 + 4 / 128**2)
    assert capacity.weights(DEEPSEEK, 1, Split(ep=1, local=256), FP8) == pytest.approx(expected, rel=1e-12)


def test_weights_of_one_of_many_gpus() -> None:
    alone = capacity.weights(DEEPSEEK, 1, Split(ep=1, local=256), BF16)
    shared_out = capacity.weights(DEEPSEEK, 1, Split(ep=128, local=2), BF16)
    assert alone - shared_out == 2 * 58 * 254 * 3 * 7168 * 2048
    # Four GPUs share heads, MLP and vocabulary; what leads into the latents, the shared expert and the router stay whole.
    shared_heads = capacity.weights(DEEPSEEK, 4, Split(ep=128, local=2), BF16)
    parted = 61 * (1536 * 24576 + 512 * 128 * 256 + 16384 * 7168) + 3 * 3 * 7168 * 18432 + 2 * 129280 * 7168
    assert shared_out - shared_heads == pytest.approx(2 * parted * 3 / 4)
    guessing = capacity.weights(DEEPSEEK, 1, Split(ep=128, local=2), BF16, draft=True)
    layer = 7168 * 1536 + 1536 * 24576 + 7168 * 576 + 512 * 128 * 256 + 16384 * 7168 + 3 * 3 * 7168 * 2048 + 256 * 7168
    assert guessing - shared_out == 2 * (layer + 2 * 7168**2)


def test_bytes_of_the_cache() -> None:
    assert 61 * capacity.cached(DEEPSEEK, 1, BF16) == 61 * 576 * 2 == 70272
    assert capacity.cached(DEEPSEEK, 8, BF16) == capacity.cached(DEEPSEEK, 1, BF16)  # the latent is whole on each GPU
    assert [capacity.cached(QWEN, tp, BF16) for tp in (1, 2, 8, 16)] == [2 * 8 * 128 * 2, 2 * 4 * 128 * 2, 512, 512]
    assert capacity.cached(QWEN, 1, precision_named("fp8", "fp8")) == 2048
    found = served()
    # Half a page of 64 tokens of each sequence is empty.
    assert found.need.cache == 88 * (5488 + 32) * 70272


def test_activations_of_a_micro_batch() -> None:
    rows = 44 * 8 * 144 * 2 / 256 * 1.2
    # Query, key and value columns of 128 heads are wider than the dense MLP.
    expected = 44 * 2 * (2 * 7168 + 128 * 1088) + rows * (7168 * (1 + 4 / 128 + 2) + 2 * 3 * 2048) + 4 * 44 * 129280
    assert served().need.activations == pytest.approx(expected, rel=1e-12)


# -- what the published study has wrong ------------------------------------------------------------------------------------------


def operators(model: Architecture, seen: Pass) -> dict[str, Any]:
    return {op.name: op.operator for op in attention(model, seen)}


def seen(sequences: int = 44, queries: int = 1, context: int = 5120, **others: Any) -> Pass:
    return Pass(sequences=sequences, queries=queries, context=context, **{"precision": FP8, **others})


def test_query_projections_have_the_shapes_of_the_model() -> None:
    found = operators(DEEPSEEK, seen())
    assert (found["fused_qkv_a_proj"].k, found["fused_qkv_a_proj"].n) == (7168, 1536 + 576)
    assert (found["q_b_proj"].k, found["q_b_proj"].n) == (1536, 24576)


def test_the_context_is_not_rounded_up() -> None:
    def keys(context: int) -> float:
        return next(op for op in attention(DEEPSEEK, seen(context=context)) if op.name == "attn_mqa").work().flops

    assert keys(5120) == 2 * 44 * 128 * 5120 * 1088
    assert keys(5121) > keys(5120) and keys(8192) / keys(5120) == pytest.approx(1.6)


def test_rows_of_local_experts_share_what_arrives() -> None:
    # 256 GPUs send 8 copies of b tokens to 256 experts: 8 b rows for each, not 8 b for each of several.
    for b, ep, local in product((16, 64), (32, 128, 144, 256, 320), (1, 2, 8)):
        rows = Split(ep=ep, local=local).rows(b, DEEPSEEK.moe)  # type: ignore[arg-type]
        assert rows == ceil(8 * b * ep / 256 * local - 1e-9)
    assert Split(ep=144, local=2, imbalance=1.5).rows(64, DEEPSEEK.moe) == ceil(64 * 9 * 1.5)  # type: ignore[arg-type]


def test_reads_of_the_cache_bind_and_an_fp8_cache_halves_them() -> None:
    def attention_of(context: int, cache: str) -> Any:
        found = estimate(asked(context=context, precision=precision_named("fp8", cache)), ASSUMED)
        return next(term for term in section(found, "moe").terms if term.name == "attn_mqa")

    long, short = attention_of(60000, "bf16"), attention_of(30000, "bf16")
    assert long.by == "memory"
    assert long.bytes - short.bytes == pytest.approx(44 * 33000 * (576 * 2 + 4 / 64), rel=1e-4)
    assert long.bytes - attention_of(60000, "fp8").bytes == 44 * 66000 * 576


def test_dense_layers_head_and_memory_are_there() -> None:
    found = served()
    assert [(one.kind, one.count) for one in found.sections] == [("dense", 3), ("moe", 58), ("head", 1)]
    assert found.fits and not estimate(asked(batch=512), ASSUMED).fits
    shares = sum(one.count * one.seconds for one in found.sections) + found.host
    assert shares == pytest.approx(found.step, rel=1e-12)


def test_guessed_tokens_widen_experts_and_network() -> None:
    plain, guessing = served(), estimate(asked(mtp=1), ASSUMED)
    one, two = section(plain, "moe"), section(guessing, "moe")
    for name in ("dispatch", "combine"):
        before, after = (next(term.bytes for term in each.terms if term.name == name) for each in (one, two))
        assert after == pytest.approx(2 * before)
    rows = [next(term.op.operator for term in each.terms if term.op and term.name == "experts") for each in (one, two)]
    assert rows[1].tokens == pytest.approx(2 * rows[0].tokens, abs=1)  # type: ignore[attr-defined]
    assert guessing.gained == pytest.approx(1.85)
    # A layer, its head and what joins the guessed token to it.
    assert [(each.kind, each.count) for each in guessing.sections if each.guess] == [("moe", 1), ("head", 1)]
    joined = [term.name for term in section(guessing, "head", guess=True).terms]
    assert joined == ["draft.enorm", "draft.hnorm", "draft.eh_proj.quant", "draft.eh_proj", "norm", "lm_head"]
    # The same tokens/s of a GPU and of its users: nothing is divided by the tokens that were guessed.
    assert guessing.per_gpu == pytest.approx(88 * guessing.user)


# -- every kernel is an operator that the benches could run ----------------------------------------------------------------------


def lists(model: Architecture, given: Pass) -> Iterator[Op]:
    """All kernels of a model at one micro-batch, at every number of GPUs that share the experts."""
    yield from attention(model, given)
    yield from head(model, given)
    if model.dense_layers:
        yield from dense(model, given)
    if model.draft_layers:
        yield from joint(model, given)
    if model.moe is not None:
        yield from router(model, model.moe, given.tokens)
        yield from shared(model, model.moe, given.tokens, given.precision)
        for ep in (1, *axes.eps(model)):
            split = axes.split(model, ep, None, ASSUMED)
            assert split is not None
            yield from experts(model, model.moe, given.tokens, split, given.precision)


@pytest.mark.parametrize("name", model_names())
def test_every_kernel_of_every_model_can_be_built(name: str) -> None:
    model, built, refused = model_named(name), set(), set()
    sizes = ((True, 1, 1, 777), (True, 33, 3, 777), (False, 2, 120, 120))
    for tp, (weights, kept), (decode, sequences, queries, context) in product(
        (1, 2, 4, 8, 16, 32), product(WEIGHTS, CACHE_BYTES), sizes
    ):
        precision = precision_named(weights, kept)
        try:
            axes.check_tp(model, tp)
            axes.check_kernels(model, tp, precision, decode)
        except Mistake as error:
            refused.add(str(error))
            continue
        given = Pass(sequences=sequences, queries=queries, context=context, tp=tp, precision=precision, decode=decode)
        for op in lists(model, given):
            if op.operator not in built:
                built.add(op.operator)
                assert type(op.operator).build(read_back(op.operator)) == op.operator, op.name
            assert op.work().bytes > 0 and 0 <= op.key_share <= 1 and op.launches >= 1
    assert len(built) > 100
    if name == "deepseek_v3":
        assert refused == {
            f"--precision {given} at --tp 32: mlp.down.quant of deepseek_v3, a per_token_group_quant_fp8, cannot be:"
            " hidden = 576 is no multiple of group = 128"
            for given in ("fp8/bf16", "fp8/fp8", "fp4_experts/bf16", "fp4_experts/fp8")
        }


def test_sizes_that_no_kernel_takes_are_one_sentence() -> None:
    odd = QWEN.replace(intermediate=12300)
    axes.check(asked(odd, None, precision=BF16))
    with pytest.raises(Mistake, match=r"--precision fp8/bf16 at --tp 1: mlp\.down\.quant of qwen3_8b.*multiple of group = 128"):
        axes.check(asked(odd, None))


def test_a_grid_leaves_out_what_cannot_be() -> None:
    grid = grids.Grid(
        model=DEEPSEEK, gpus=(gpu_named("gb200"), H800), nics=(CX7,),
        splits=tuple(axes.split(DEEPSEEK, ep, None, ASSUMED) for ep in (32, 72)),
        tps=(8, 16, 32), precisions=(FP8, BF16), policies=("naive",), mtps=(0,), batches=(4,), context=100,
    )  # fmt: skip
    valid = grids.evaluate(grid, ASSUMED).valid[:, 0, :, :, :, 0, 0, 0]
    # 16 GPUs are no board of an H800, 16 does not divide 72, and 32 would cut a block of scales.
    linked, other = [[[True, True], [True, True], [False, True]], [[True, True], [False, False], [False, False]]], [False, False]
    assert valid[0].tolist() == linked
    assert valid[1].tolist() == [[[True, True], other, other], [[True, True], other, other]]


# -- what can never be -----------------------------------------------------------------------------------------------------------

CASES = st.tuples(
    st.sampled_from((DEEPSEEK, MOE, QWEN)),
    st.sampled_from((1, 8, 32, 128)),
    st.sampled_from((1, 2, 4)),
    st.sampled_from(("bf16", "fp8", "fp8_experts")),
    st.sampled_from(("bf16", "fp8")),
    st.sampled_from(("naive", "dual")),
    st.integers(0, 2),
    st.integers(1, 200),
    st.integers(1, 9000),
    st.booleans(),
)


def drawn(case: tuple[Any, ...], gpu: Hardware = H200, **others: Any) -> Configuration:
    model, ep, tp, weights, kept, policy, mtp, batch, context, decode = case
    ep = 1 if model.moe is None else max(ep, tp)
    if not decode or not model.draft_layers:
        mtp = 0
    given = asked(
        model, ep, gpu=gpu, tp=tp, precision=precision_named(weights, kept), policy=policy, mtp=mtp,
        batch=batch if decode else 1 + batch % 4, context=context if decode else 1 + context % 1000, decode=decode,
    )  # fmt: skip
    given = given.replace(**others)
    axes.check(given)
    return given


DRAWN = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)


@DRAWN
@given(CASES)
def test_faster_hardware_is_never_slower(case: tuple[Any, ...]) -> None:
    step = estimate(drawn(case), ASSUMED).step
    assert np.isfinite(step) and step > 0
    assert H200.link is not None and H200.driver is not None
    better: Sequence[Hardware] = (
        H200.replace(bandwidth=1.3 * H200.bandwidth),
        *(H200.replace(peak={**H200.peak, unit: 1.3 * H200.peak[unit]}) for unit in ("bf16", "fp8", "fp32")),
        H200.replace(link=1.3 * H200.link),
        H200.replace(driver=H200.driver.replace(boost=1.3 * H200.driver.boost)),
    )
    for gpu in better:
        assert estimate(drawn(case, gpu), ASSUMED).step <= step * (1 + 1e-12)
    for nic in (CX7.replace(bandwidth=1.3 * CX7.bandwidth), CX7.replace(latency=1e-6)):
        assert estimate(drawn(case, nic=nic), ASSUMED).step <= step * (1 + 1e-12)


@DRAWN
@given(CASES)
def test_more_work_never_takes_less(case: tuple[Any, ...]) -> None:
    given = drawn(case)
    found = estimate(given, ASSUMED)
    for heavier in (given.replace(batch=given.batch + 7), given.replace(context=given.context + 300)):
        more = estimate(heavier, ASSUMED)
        # Attention puts a sequence's keys in pages and the experts their rows in tiles; neither ever shrinks.
        assert more.step >= found.step * (1 - 1e-12)
        assert more.need.total >= found.need.total
        assert more.need.weights == found.need.weights


@DRAWN
@given(CASES, st.sampled_from(("efficiency.gemm.memory", "efficiency.moe.compute", "link.rdma", "link.nvlink")))
def test_more_efficient_kernels_are_never_slower(case: tuple[Any, ...], name: str) -> None:
    given = drawn(case)
    assert estimate(given, ASSUMED.changed_by([f"{name}=1"])).step <= estimate(given, ASSUMED).step * (1 + 1e-12)


@DRAWN
@given(CASES)
def test_everything_at_its_limit_takes_its_bound(case: tuple[Any, ...]) -> None:
    """Without launches, tiles and a softmax, at full efficiency, each kernel takes T_SOL."""
    names = [name for name in ASSUMED.values if name.startswith("efficiency.") or name in ("link.rdma", "link.nvlink")]
    free = ["time.launch=0us", "time.step=0us", "tile.rows=1", "exp.per_clock=1000000"]
    free += ["link.rdma_latency=0us", "link.nvlink_latency=0us", *(f"{name}=1" for name in names)]
    found = estimate(drawn(case), ASSUMED.changed_by(free))
    for one in found.sections:
        for term in one.terms:
            if term.name.startswith("experts"):  # rows of an expert may be no whole number, and one row is the least
                assert term.seconds >= term.t_sol * (1 - 1e-9)
            elif term.op is not None and term.op.scores:
                assert term.seconds == pytest.approx(term.t_sol, rel=1e-5)
            else:
                assert term.seconds == pytest.approx(term.t_sol, rel=1e-9), term.name


@DRAWN
@given(CASES)
def test_one_gpu_talks_to_nobody(case: tuple[Any, ...]) -> None:
    model, *others = case
    alone = drawn((model, 1, 1, *others[2:]), nic=None)
    assert not [term for one in estimate(alone, ASSUMED).sections for term in one.terms if term.op is None]
    together = drawn((model, 8, 2, *others[2:]))
    names = {term.name for one in estimate(together, ASSUMED).sections for term in one.terms if term.op is None}
    assert {"gather rows", "add up rows"} <= names
    assert ({"dispatch", "combine"} <= names) == (model.moe is not None)
    # Eight GPUs of one board need no NIC.
    assert estimate(together.replace(nic=None), ASSUMED).step == estimate(together, ASSUMED).step


@settings(max_examples=12, deadline=None, derandomize=True)
@given(CASES)
def test_an_estimate_is_the_value_of_the_grid(case: tuple[Any, ...]) -> None:
    given = drawn(case)
    grid = grids.Grid(
        model=given.model, gpus=(H800, given.gpu), nics=(CX7, nic_named("cx6")), splits=(given.split,), tps=(given.tp,),
        precisions=(given.precision,), policies=(given.policy,), mtps=(0, given.mtp) if given.mtp else (0,),
        batches=(given.batch, given.batch + 9), context=given.context, decode=given.decode,
    )  # fmt: skip
    values, one = grids.evaluate(grid, ASSUMED), estimate(given, ASSUMED)
    at = (1, 0, 0, 0, 0, 0, len(grid.mtps) - 1, 0)
    assert values.valid[at]
    found = (values.step[at], values.need[at], values.user[at])
    assert found == pytest.approx((one.step, one.need.total, one.user), rel=1e-12)


def test_prompts_cross_to_each_node_once() -> None:
    moe = DEEPSEEK.moe
    assert moe is not None
    each = 1000 * 7168 * 2.0
    # 4 nodes of 8: a token's 8 copies meet 4 (1 - (3/4)^8) nodes, a quarter of them its own.
    found = links.traffic(1000, moe, 7168, 2.0, 32, 8, False, 1.0)
    assert found.rdma == pytest.approx(each * 4 * (1 - 0.75**8) * 3 / 4)
    assert found.nvlink == pytest.approx(each * 8 * 7 / 8)
    # 40 nodes: no more than the 4 groups that routing keeps.
    assert links.traffic(1000, moe, 7168, 2.0, 320, 8, False, 1.0).rdma == pytest.approx(each * 4 * 39 / 40)
    decode = links.traffic(1000, moe, 7168, 2.0, 32, 8, True, 1.5)
    assert (decode.rdma, decode.nvlink) == pytest.approx((1.5 * each * 8 * 24 / 32, 1.5 * each * 8 * 7 / 32))


def test_links_carry_at_the_same_time() -> None:
    nic = Nic(name="n", title="n", bandwidth=10e9, latency=3e-6, source="test")
    gpu = H800.replace(link=100e9)
    sent = links.Traffic(rdma=8e6, nvlink=7e6)
    assert links.seconds(sent, gpu, nic, ASSUMED) == pytest.approx(8e6 / 8e9 + 3e-6)
    assert links.seconds(links.Traffic(nvlink=7e6), gpu, None, ASSUMED) == pytest.approx(7e6 / 70e9 + 5e-6)
    assert links.seconds(links.Traffic(), gpu, None, ASSUMED) == 0


def test_pipelines_of_attention() -> None:
    """Softmax beside nothing, beside the second product, beside both: on one GPU that is called an older and a newer one."""
    assert H800.driver is not None
    slow = ASSUMED.changed_by(["exp.per_clock=1", "efficiency.attention.compute=1", "time.launch=0us"])
    pairs = 128 * 44 * 5488
    products = [2 * pairs * width / PEAK["bf16"] for width in (576, 512)]
    softmax = 2 * pairs / (132 * 1.83e9)
    expected = {"8.0": sum(products) + softmax, "9.0": products[0] + softmax, "10.0": softmax, "7.0": sum(products) + softmax}
    for capability, seconds in expected.items():
        gpu = H800.replace(driver=H800.driver.replace(capability=capability))
        terms = section(estimate(asked(gpu=gpu), slow), "moe").terms
        assert next(term.seconds for term in terms if term.name == "attn_mqa") == pytest.approx(seconds, rel=1e-9)


def test_half_of_grouped_query_attention_is_beside_the_softmax() -> None:
    slow = ASSUMED.changed_by(["exp.per_clock=1", "efficiency.attention.compute=1", "time.launch=0us"])
    given = asked(QWEN, None, gpu=H800.replace(bandwidth=1e15), precision=BF16, policy="naive", batch=4, context=9000)
    terms = section(estimate(given, slow), "dense").terms
    pairs = 32 * 4 * ceil(9000 * 1.1)
    expected = 2 * pairs * 128 / PEAK["bf16"] + 2 * pairs / (132 * 1.83e9)
    assert next(term.seconds for term in terms if term.name == "attn") == pytest.approx(expected, rel=1e-9)


def test_precision_names() -> None:
    assert str(precision_named("fp4_experts", "fp8")) == "fp4_experts/fp8"
    assert str(Precision(dense="bf16", experts="fp4")) == "bf16+fp4/bf16"
