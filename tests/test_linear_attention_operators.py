"""Linear attention against plain Python, and against each other: steps, chunks and batches give the same states and outputs."""

import math
from functools import partial
from typing import Any

import pytest
import torch
from samples.linear_attention import SMALL
from torch import Tensor

from pytest_dsbench import trial
from pytest_dsbench.operator import Operator
from pytest_dsbench.operators import _delta_rule, find, gated_delta_rule_update
from pytest_dsbench.operators.causal_conv1d import CausalConv1d
from pytest_dsbench.operators.chunk_delta_rule_output import ChunkDeltaRuleOutput
from pytest_dsbench.operators.chunk_gated_delta_rule_state import ChunkGatedDeltaRuleState
from pytest_dsbench.operators.gated_delta_rule_update import GatedDeltaRuleUpdate, gates, unit
from pytest_dsbench.providers.torch_native import linear_attention
from pytest_dsbench.tensors import Maker, make

Matrix = list[list[float]]


def product(left: Matrix, right: Matrix) -> Matrix:
    return [[sum(a * b for a, b in zip(row, column, strict=True)) for column in zip(*right, strict=True)] for row in left]


def transposed(matrix: Matrix) -> Matrix:
    return [list(column) for column in zip(*matrix, strict=True)]


def as_bf16(value: float) -> float:
    return float(torch.tensor(value).bfloat16())


def close(got: Tensor, want: Tensor, rel: float = 1e-5) -> None:
    assert got.shape == want.shape
    assert float((got.double() - want.double()).norm()) <= rel * float(want.double().norm())


def test_gated_delta_rule_update_by_hand() -> None:
    op = GatedDeltaRuleUpdate(batch=2, tokens=3, q_heads=2, v_heads=4, key_dim=3, value_dim=2, states=5)
    inputs = make(op, "cpu")
    out, final = op.reference(**inputs)
    given = {name: value.double().tolist() for name, value in inputs.items()}
    for sequence, head in ((0, 1), (0, 2), (1, 3)):
        where = inputs["initial_state_indices"].tolist()[sequence]
        state = given["initial_state"][where][head]
        for token in range(3):
            gate = given["a"][sequence][token][head] + given["dt_bias"][head]
            decay = math.exp(-math.exp(given["a_log"][head]) * math.log1p(math.exp(gate)))
            beta = 1 / (1 + math.exp(-given["b"][sequence][token][head]))
            q, k = ([x / math.hypot(*line) for x in line] for line in (given[n][sequence][token][head // 2] for n in "qk"))
            value = given["v"][sequence][token][head]
            state = [[decay * x for x in line] for line in state]
            known = product([k], state)[0]
            state = [[x + k[i] * beta * (value[j] - known[j]) for j, x in enumerate(line)] for i, line in enumerate(state)]
            right = [x / math.sqrt(3) for x in product([q], state)[0]]
            assert out[sequence, token, head].tolist() == pytest.approx(right, rel=1e-4, abs=1e-6)
        for line, right in zip(final[where, head].tolist(), state, strict=True):
            assert line == pytest.approx(right, rel=1e-4, abs=1e-6)


def test_softplus_is_linear_where_it_would_overflow() -> None:
    decay, _ = gates(torch.zeros(1), torch.zeros(1), torch.tensor([[21.0], [1000.0]]), torch.zeros(2, 1))
    assert decay[:, 0].tolist() == pytest.approx([math.exp(-21), 0.0], rel=1e-6)


def test_chunk_gated_delta_rule_state_by_hand() -> None:
    op = ChunkGatedDeltaRuleState(batch=2, tokens=5, k_heads=1, v_heads=2, key_dim=3, value_dim=2, states=4, chunk=2)
    inputs = make(op, "cpu")
    # Steps up in the middle of a chunk: what would grow is dropped.
    inputs["g"][0, 2, 1] = inputs["g"][0, 3, 1] - 0.5
    h, v_new, final = op.reference(**inputs)
    given = {name: value.double().tolist() for name, value in inputs.items()}
    for sequence, head in ((0, 1), (1, 0), (1, 1)):
        where = inputs["initial_state_indices"].tolist()[sequence]
        state = given["initial_state"][where][head]
        for chunk, tokens in enumerate(((0, 1), (2, 3), (4,))):
            rounded = [[as_bf16(x) for x in line] for line in state]
            assert h[sequence, chunk, head].tolist() == rounded
            last = given["g"][sequence][tokens[-1]][head]
            state = [[math.exp(last) * x for x in line] for line in state]
            for token in tokens:
                left = given["g"][sequence][token][head]
                read = product([given["w"][sequence][token][head]], rounded)[0]
                change = [u - r for u, r in zip(given["u"][sequence][token][head], read, strict=True)]
                assert v_new[sequence, token, head].tolist() == pytest.approx(change, rel=1e-5, abs=1e-6)
                faded = [as_bf16(x * math.exp(last - left)) if last <= left else 0.0 for x in change]
                key = given["k"][sequence][token][0]
                state = [[x + key[i] * faded[j] for j, x in enumerate(line)] for i, line in enumerate(state)]
        for line, right in zip(final[where, head].tolist(), state, strict=True):
            assert line == pytest.approx(right, rel=1e-5, abs=1e-6)


def test_chunk_delta_rule_output_by_hand() -> None:
    op = ChunkDeltaRuleOutput(batch=2, tokens=5, q_heads=1, v_heads=2, key_dim=3, value_dim=2, chunk=3)
    inputs = make(op, "cpu")
    # A step up in the middle of a chunk: what would grow is dropped.
    inputs["g"][1, 4, 1] = inputs["g"][1, 3, 1] + 0.5
    out = op.reference(**inputs)
    given = {name: value.double().tolist() for name, value in inputs.items()}
    for sequence, head, chunk, tokens in ((0, 0, 0, (0, 1, 2)), (0, 1, 1, (3, 4)), (1, 1, 1, (3, 4))):
        for i in tokens:
            g_i, q = given["g"][sequence][i][head], given["q"][sequence][i][0]
            right = [math.exp(g_i) * x for x in product([q], given["h"][sequence][chunk][head])[0]]
            for j in tokens:
                g_j, k = given["g"][sequence][j][head], given["k"][sequence][j][0]
                if j > i or g_i > g_j:
                    continue
                weight = as_bf16(product([q], transposed([k]))[0][0] * math.exp(g_i - g_j))
                right = [x + weight * v for x, v in zip(right, given["v"][sequence][j][head], strict=True)]
            scaled = [x / math.sqrt(3) for x in right]
            assert out[sequence, i, head].tolist() == pytest.approx(scaled, rel=1e-4, abs=1e-5)


def test_causal_conv1d_by_hand() -> None:
    op = CausalConv1d(tokens=4, channels=3, width=3)
    inputs = make(op, "cpu")
    out = op.reference(**inputs)
    given = {name: value.double().tolist() for name, value in inputs.items()}
    for channel in range(3):
        x = given["initial_state"][0][channel] + given["x"][channel]
        for token in range(4):
            total = given["bias"][channel] + sum(given["weight"][channel][j] * x[token + j] for j in range(3))
            assert float(out[channel, token]) == pytest.approx(total / (1 + math.exp(-total)), rel=1e-12)


def test_causal_conv1d_is_torchs() -> None:
    op = CausalConv1d(tokens=37, channels=20, width=4)
    inputs = {name: value.double() for name, value in make(op, "cpu").items()}
    x = torch.cat([inputs["initial_state"], inputs["x"][None]], 2)
    right = torch.nn.functional.conv1d(x, inputs["weight"][:, None], inputs["bias"], groups=20)
    close(op.reference(**inputs), torch.nn.functional.silu(right)[0], rel=1e-12)


def test_causal_conv1d_goes_on_where_it_stopped() -> None:
    op = CausalConv1d(tokens=11, channels=5)
    inputs = make(op, "cpu")
    first = op.replace(tokens=7).reference(**inputs | {"x": inputs["x"][:, :7]})
    rest = {"x": inputs["x"][:, 7:], "initial_state": inputs["x"][None, :, 4:7]}
    close(torch.cat([first, op.replace(tokens=4).reference(**inputs | rest)], 1), op.reference(**inputs), rel=1e-12)


#: Inputs of gated_delta_rule_update with a value per token.
_PER_TOKEN = ("a", "b", "q", "k", "v")
_GATED = GatedDeltaRuleUpdate(batch=3, tokens=6, q_heads=2, v_heads=4, key_dim=8, value_dim=5, states=7)


def test_steps_are_calls_of_one_step() -> None:
    inputs = make(_GATED, "cpu")
    out, final = _GATED.reference(**inputs)
    pool, outs = inputs["initial_state"], []
    for token in range(6):
        one = {name: inputs[name][:, token : token + 1] for name in _PER_TOKEN}
        read, pool = _GATED.replace(tokens=1).reference(**inputs | one | {"initial_state": pool})
        outs.append(read)
    close(torch.cat(outs, 1), out, rel=1e-6)
    close(pool, final, rel=1e-6)


@pytest.mark.parametrize("name", ["gated_delta_rule_update", "chunk_gated_delta_rule_state", "chunk_delta_rule_output"])
def test_a_batch_is_so_many_calls(name: str) -> None:
    dims = {"batch": 3, "tokens": 9, "v_heads": 4, "key_dim": 8, "value_dim": 5}
    more: dict[str, dict[str, Any]] = {
        "gated_delta_rule_update": {"q_heads": 2, "states": 7},
        "chunk_gated_delta_rule_state": {"k_heads": 2, "states": 7, "chunk": 4},
        "chunk_delta_rule_output": {"q_heads": 2, "chunk": 4},
    }
    op = find(name).build(dims | more[name])
    inputs = make(op, "cpu")
    together = op.reference(**inputs)
    together = together if isinstance(together, tuple) else (together,)
    shared = ("a_log", "dt_bias", "initial_state")
    alone = op.replace(batch=1)  # type: ignore[call-arg]
    for sequence in range(3):
        one = {key: value if key in shared else value[sequence : sequence + 1] for key, value in inputs.items()}
        results = alone.reference(**one)
        for key, got, want in zip(op.outputs(), results if isinstance(results, tuple) else (results,), together, strict=True):
            row = int(one["initial_state_indices"]) if key == "final_state" else sequence
            close(got[row] if key == "final_state" else got[0], want[row])


def chunked(op: GatedDeltaRuleUpdate, inputs: dict[str, Tensor], chunk: int) -> tuple[Tensor, Tensor]:
    """The recurrence through the two chunked operators; what they need besides is solved for in fp64."""
    decay, beta = gates(*(inputs[name] for name in ("a_log", "dt_bias", "a", "b")))
    q, k = (unit(inputs[name]) for name in "qk")
    g = torch.empty(decay.shape)
    w, u = torch.empty(*decay.shape, op.key_dim), torch.empty(*decay.shape, op.value_dim)
    keys = k.repeat_interleave(op.v_heads // op.q_heads, 2).double()
    for start in range(0, op.tokens, chunk):
        some = slice(start, start + chunk)
        left = decay[:, some].double().log().cumsum(1)
        g[:, some] = left.float()
        for sequence in range(op.batch):
            for head in range(op.v_heads):
                key, rate = keys[sequence, some, head], beta[sequence, some, head, None].double()
                since = left[sequence, :, head, None]
                mixed = torch.eye(len(key), dtype=torch.float64) + (rate * key @ key.T * (since - since.T).exp()).tril(-1)
                value = inputs["v"][sequence, some, head].double()
                u[sequence, some, head] = torch.linalg.solve(mixed, rate * value).float()
                w[sequence, some, head] = torch.linalg.solve(mixed, rate * since.exp() * key).float()
    sizes = {"tokens": op.tokens, "v_heads": op.v_heads, "key_dim": op.key_dim, "value_dim": op.value_dim, "chunk": chunk}
    carry = ChunkGatedDeltaRuleState(batch=op.batch, k_heads=op.q_heads, states=op.states, dtype="fp32", **sizes)
    h, v_new, final = carry.reference(k, w, u, g, inputs["initial_state"], inputs["initial_state_indices"])
    read = ChunkDeltaRuleOutput(batch=op.batch, q_heads=op.q_heads, dtype="fp32", **sizes)
    return read.reference(q, k, v_new, h, g), final


@pytest.mark.parametrize("chunk", [1, 4, 11, 16])
def test_the_chunked_operators_together_are_the_recurrence(chunk: int) -> None:
    op = GatedDeltaRuleUpdate(batch=2, tokens=11, q_heads=2, v_heads=4, key_dim=8, value_dim=5, states=4)
    inputs = make(op, "cpu")
    for got, want in zip(chunked(op, inputs, chunk), op.reference(**inputs), strict=True):
        close(got, want)


def test_some_sequences_at_a_time_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = make(_GATED, "cpu")
    whole = _GATED.reference(**inputs)
    monkeypatch.setattr(gated_delta_rule_update, "_CHUNK", 2 * 4 * 8 * 5)
    for got, want in zip(_GATED.reference(**inputs), whole, strict=True):
        close(got, want, rel=1e-6)


@pytest.mark.parametrize(("name", "dims"), SMALL)
def test_references_leave_their_inputs_alone(name: str, dims: dict[str, Any]) -> None:
    op = find(name).build(dims)
    inputs = make(op, "cpu")
    before = {key: value.clone() for key, value in inputs.items()}
    op.reference(**inputs)
    assert all(torch.equal(inputs[key], value) for key, value in before.items())


@pytest.mark.parametrize("at_once", [2, 128])
@pytest.mark.parametrize(("name", "dims"), SMALL)
def test_torch_passes_every_round(name: str, dims: dict[str, Any], at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Changed contents under the same buffers, guard bytes, and pools that it says it works in."""
    monkeypatch.setattr(linear_attention, "_AT_ONCE", at_once)
    op = find(name).build(dims)
    contents = [trial.content(op, "cpu", number) for number in (0, 1)]
    trial.run(op, op.providers["torch"], contents, trial.edge_contents(op, "cpu", contents[0]), "cpu")


@pytest.mark.parametrize(
    ("name", "dims"),
    [
        ("gated_delta_rule_update", {"tokens": 1, "q_heads": 1, "v_heads": 2, "states": 2}),
        ("gated_delta_rule_update", {"tokens": 70, "q_heads": 1, "v_heads": 2, "key_dim": 16, "value_dim": 24, "states": 2}),
        ("chunk_gated_delta_rule_state", {"tokens": 70, "k_heads": 1, "v_heads": 2, "key_dim": 16, "value_dim": 24, "states": 2}),
        ("chunk_delta_rule_output", {"tokens": 70, "q_heads": 1, "v_heads": 2, "key_dim": 16, "value_dim": 24}),
        ("causal_conv1d", {"tokens": 37, "channels": 12}),
    ],
)
def test_torch_compile_traces_the_same_compositions(name: str, dims: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    op = find(name).build(dims)
    trial.run(op, op.providers["torch_compile"], [trial.content(op, "cpu", number) for number in (0, 1)], [], "cpu")


@pytest.mark.parametrize("tokens", [63, 64, 65, 128, 300])
def test_torch_solves_whole_and_short_chunks(tokens: int) -> None:
    op = GatedDeltaRuleUpdate(tokens=tokens, q_heads=1, v_heads=2, key_dim=24, value_dim=16, states=2, dtype="fp32")
    inputs = make(op, "cpu")
    want = op.reference(**inputs)
    for got, right in zip(op.providers["torch"].prepare(op, **inputs)(), want, strict=True):
        close(got, right)


@pytest.mark.parametrize("operator", [ChunkGatedDeltaRuleState, ChunkDeltaRuleOutput])
def test_torch_drops_what_would_grow(operator: Any) -> None:
    heads = {"k_heads": 1, "states": 2} if operator is ChunkGatedDeltaRuleState else {"q_heads": 1}
    op = operator(tokens=40, v_heads=2, key_dim=16, value_dim=16, chunk=16, dtype="fp32", **heads)
    inputs = make(op, "cpu")
    inputs["g"] = -torch.rand(inputs["g"].shape, generator=torch.Generator().manual_seed(1))
    assert bool((inputs["g"].diff(dim=1) > 0).any())
    want, got = op.reference(**inputs), op.providers["torch"].prepare(op, **inputs)()
    for one, right in zip(*((x if isinstance(x, tuple) else (x,)) for x in (got, want)), strict=True):
        close(one, right)


def test_states_fade_and_start_anew_in_every_chunk() -> None:
    g = _delta_rule.cumulative_decay(Maker(1, "cpu"), 2, 45, 3, 20)
    assert g.shape == (2, 45, 3) and bool((g <= 0).all())
    steps = torch.cat([g[:, :1], g.diff(dim=1)], 1)
    begins = [0, 20, 40]
    steps[:, begins] = g[:, begins]
    # A token keeps between half and all of a state, and heads forget at different rates.
    assert float(steps.exp().min()) > 0.5 and float(steps.max()) <= 0
    slow, _, fast = steps.mean((0, 1)).tolist()
    assert fast < 10 * slow < 0


def test_gates_are_neither_open_nor_shut() -> None:
    op = GatedDeltaRuleUpdate(tokens=200, q_heads=16, v_heads=32, key_dim=1, value_dim=1, states=1)
    inputs = make(op, "cpu")
    decay, beta = gates(*(inputs[name] for name in ("a_log", "dt_bias", "a", "b")))
    low, high = torch.quantile(decay.flatten(), torch.tensor([0.01, 0.99])).tolist()
    assert 0.5 < low < 0.9 < high < 0.999
    low, high = torch.quantile(beta.flatten(), torch.tensor([0.1, 0.9])).tolist()
    assert low < 0.3 and high > 0.7


def test_states_stay_of_ordinary_size_over_hundreds_of_chunks() -> None:
    op = ChunkGatedDeltaRuleState(tokens=8 * 300, k_heads=1, v_heads=2, key_dim=16, value_dim=8, states=1, chunk=8)
    h, v_new, _ = op.reference(**make(op, "cpu"))
    assert 0.1 < float(h[0, -1].float().std()) < 3 and 0.5 < float(v_new[0, -8:].std()) < 3


@pytest.mark.parametrize(
    ("row", "factor", "sentence"),
    [
        (2, 1.0, None),
        (2, 1.004, None),
        (2, 1.1, r"final_state\[2\] has a relative error of 1.00e-01"),
        (1, 1.004, r"\[1\] changed"),
    ],
)
def test_the_states_of_a_pool_are_held_one_by_one(row: int, factor: float, sentence: str | None) -> None:
    want = torch.ones(4, 2, 3, 5)
    got = want.clone()
    got[row] *= factor
    flaw = _delta_rule.pool_flaw("final_state", got, want, torch.tensor([2, 0], dtype=torch.int32), 5e-3)
    if sentence is None:
        assert flaw is None
    else:
        with pytest.raises(AssertionError, match=sentence):
            raise AssertionError(flaw)


def test_a_state_of_zeros_has_to_stay_zero() -> None:
    want, got = torch.zeros(1, 2), torch.full((1, 2), 1e-9)
    assert _delta_rule.pool_flaw("pool", want, want, torch.tensor([0]), 1e-3) is None
    assert "relative error" in str(_delta_rule.pool_flaw("pool", got, want, torch.tensor([0]), 1e-3))


def test_decode_batches_move_a_state_each() -> None:
    def moved(batch: int, tokens: int) -> int:
        op: Operator = GatedDeltaRuleUpdate(batch=batch, tokens=tokens, q_heads=16, v_heads=32, states=300)
        return op.work().bytes

    state = 8 * 32 * 128 * 128
    assert 128 * state < moved(128, 1) < 1.01 * 128 * state
    assert moved(1, 128) < 2 * state
