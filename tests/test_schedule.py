"""Schedules: their periods held against a simulation of events, and the bars of a layer against what must come before what."""

from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pytest_dsbench.serving.schedule import MICRO, POLICIES, Parts, Policy, Span, exposed, layer, timeline

NAMES = Parts.__struct_fields__
#: No layer with experts has an MLP, and no dense one sends tokens to experts.
OF_MOE = [name for name in NAMES if name != "mlp"]
OF_DENSE = ["gather", "attention_in", "attention_out", "scatter", "mlp"]
#: Layers of a simulation, behind so many that its beginning is forgotten.
FIRST, LAYERS = 8, 12

TIMES = st.one_of(st.just(0.0), st.floats(1e-7, 1e-2))


def made(names: list[str]) -> st.SearchStrategy[Parts]:
    return st.fixed_dictionaries({name: TIMES if name in names else st.just(0.0) for name in NAMES}).map(
        lambda found: Parts(**found)
    )


EXAMPLE = Parts(
    gather=1.0,
    attention_in=10.0,
    attention_out=30.0,
    scatter=2.0,
    router=3.0,
    shared=7.0,
    dispatch=25.0,
    experts=20.0,
    combine=31.0,
)

# -- a simulation that knows nothing of windows ---------------------------------------------------------------------------------


class Simulation:
    """Two lanes, each in the order in which work is handed in; work begins when its lane is free and what it needs is done."""

    def __init__(self, parts: Parts, early: bool = False) -> None:
        """`early`: the shared experts need not wait until the dispatch has begun."""
        self.early = early
        front = parts.gather + parts.attention_in
        self.takes = {
            "in": front,
            "out": parts.attention_out + parts.scatter + parts.router,
            "dispatch": parts.dispatch,
            "shared": parts.shared,
            "experts": parts.experts,
            "combine": parts.combine,
            "mlp": parts.mlp,
        }
        self.free = {"kernels": 0.0, "network": 0.0}
        self.begun: dict[tuple[str, int, int], float] = {}
        self.done: dict[tuple[str, int, int], float] = {}

    def play(self, lane: str, what: str, micro: int, number: int) -> None:
        start = max(self.free[lane], *self.needs(what, micro, number))
        self.begun[what, micro, number] = start
        self.done[what, micro, number] = self.free[lane] = start + self.takes[what]

    def needs(self, what: str, micro: int, number: int) -> Iterator[float]:
        yield 0.0
        before = {
            "in": [("combine", -1), ("shared", -1), ("mlp", -1)],
            "out": [("in", 0)],
            "mlp": [("out", 0)],
            "dispatch": [("out", 0)],
            "shared": [("out", 0)],
            "experts": [("dispatch", 0)],
            "combine": [("experts", 0)],
        }
        for name, back in before[what]:
            if (name, micro, number + back) in self.done:
                yield self.done[name, micro, number + back]
        if what == "shared" and not self.early:
            # The host launches the dispatch first: kernels send the tokens, then the network has them.
            yield self.begun["dispatch", micro, number]


def naive(parts: Parts, layers: int) -> list[float]:
    """When each layer ends."""
    play = Simulation(parts)
    ends = []
    for number in range(layers):
        for lane, what in (
            *(("kernels", "in"), ("kernels", "out"), ("network", "dispatch")),
            *(("kernels", "shared"), ("kernels", "experts"), ("network", "combine")),
        ):
            play.play(lane, what, 0, number)
        ends.append(play.done["combine", 0, number])
    return ends


def dual(parts: Parts, layers: int, early: bool = False) -> list[float]:
    """When each layer of micro-batch 0 ends; its first attention runs alone."""
    play = Simulation(parts, early)
    play.play("kernels", "in", 0, 0)
    play.play("kernels", "out", 0, 0)
    ends = []
    for half in range(2 * layers):
        number, micro = divmod(half, 2)
        # Micro-batch 1 follows half a layer behind.
        other, its = (1, number) if micro == 0 else (0, number + 1)
        play.play("network", "dispatch", micro, number)
        play.play("kernels", "shared", micro, number)
        play.play("kernels", "in", other, its)
        play.play("kernels", "experts", micro, number)
        play.play("network", "combine", micro, number)
        play.play("kernels", "out", other, its)
        if micro == 0:
            ends.append(play.done["combine", 0, number])
    return ends


def dense(parts: Parts, layers: int, micros: int) -> list[float]:
    play = Simulation(parts)
    ends = []
    for number in range(layers):
        for micro in range(micros):
            for what in ("in", "out", "mlp"):
                play.play("kernels", what, micro, number)
        ends.append(play.done["mlp", micros - 1, number])
    return ends


def period(ends: list[float]) -> float:
    """Seconds from layer to layer once the beginning is forgotten; every one of them the same."""
    steps = [after - before for before, after in pairwise(ends[FIRST:])]
    assert steps == pytest.approx([steps[0]] * len(steps), rel=1e-9, abs=1e-12)
    return steps[0]


@given(made(OF_MOE))
@settings(max_examples=200, deadline=None)
def test_the_period_is_that_of_a_simulation(parts: Parts) -> None:
    assert layer(parts, "naive", moe=True) == pytest.approx(period(naive(parts, FIRST + LAYERS)), rel=1e-9, abs=1e-12)
    assert layer(parts, "dual", moe=True) == pytest.approx(period(dual(parts, FIRST + LAYERS)), rel=1e-9, abs=1e-12)


@given(made(OF_MOE))
@settings(max_examples=50, deadline=None)
def test_windows_cost_at_most_the_shared_experts(parts: Parts) -> None:
    ends = dual(parts, FIRST + LAYERS, early=True)
    lost = layer(parts, "dual", moe=True) - (ends[-1] - ends[FIRST]) / (LAYERS - 1)
    assert -1e-12 <= lost <= 2 * parts.shared + 1e-12


@given(made(OF_DENSE))
@settings(max_examples=50, deadline=None)
def test_a_dense_layer_is_its_kernels_one_after_the_other(parts: Parts) -> None:
    for policy in POLICIES:
        took = period(dense(parts, FIRST + LAYERS, MICRO[policy]))
        assert layer(parts, policy, moe=False) == pytest.approx(took, rel=1e-9, abs=1e-12)


def test_periods_by_hand() -> None:
    # naive: 1 + 10 + 30 + 2 + 3 + max(25, 7) + 20 + 31
    assert layer(EXAMPLE, "naive", moe=True) == pytest.approx(122.0)
    # dual: 2 x (max(25, 7 + 1 + 10) + 20 + max(31, 30 + 2 + 3))
    assert layer(EXAMPLE, "dual", moe=True) == pytest.approx(160.0)
    # The same kernels on half of the batch: what the dual schedule is for.
    half = Parts(**{name: getattr(EXAMPLE, name) / 2 for name in NAMES})
    assert layer(half, "dual", moe=True) == pytest.approx(80.0)


@given(made(OF_MOE))
def test_the_structure_is_the_published_one(parts: Parts) -> None:
    p = parts
    att0, att1 = p.gather + p.attention_in, p.attention_out + p.scatter + p.router
    naive_t = att0 + att1 + max(p.dispatch, p.shared) + p.experts + p.combine
    dual_t = 2 * (max(p.dispatch, att0 + p.shared) + p.experts + max(p.combine, att1))
    assert layer(p, "naive", moe=True) == pytest.approx(naive_t, rel=1e-12)
    assert layer(p, "dual", moe=True) == pytest.approx(dual_t, rel=1e-12)


# -- what is hidden -----------------------------------------------------------------------------------------------------------


def lanes(parts: Parts, policy: Policy) -> list[tuple[float, float]]:
    """Both lanes of each window in which something runs beside something."""
    front, back = parts.gather + parts.attention_in, parts.attention_out + parts.scatter + parts.router
    if policy == "naive":
        return [(parts.shared, parts.dispatch), (0.0, parts.combine)]
    return [(parts.shared + front, parts.dispatch), (back, parts.combine)]


@given(made(OF_MOE), st.sampled_from(POLICIES), st.sampled_from(OF_MOE))
def test_what_grows_costs_all_of_it_where_exposed_and_nothing_where_hidden(parts: Parts, policy: Policy, name: str) -> None:
    gaps = [abs(kernels - network) for kernels, network in lanes(parts, policy) if kernels != network]
    # Where both lanes end together the one that is named is a matter of taste.
    assume(len(gaps) == 2 and min(gaps) > 1e-9)
    more = min(gaps) / 2
    grown = parts.replace(**{name: getattr(parts, name) + more})
    added = layer(grown, policy, moe=True) - layer(parts, policy, moe=True)
    expected = MICRO[policy] * more if name in exposed(parts, policy, moe=True) else 0.0
    assert added == pytest.approx(expected, rel=1e-6, abs=1e-15)


@given(made(OF_MOE), st.sampled_from(POLICIES))
def test_a_layer_is_the_sum_of_what_is_exposed(parts: Parts, policy: Policy) -> None:
    total = MICRO[policy] * sum(getattr(parts, name) for name in exposed(parts, policy, moe=True))
    assert layer(parts, policy, moe=True) == pytest.approx(total, rel=1e-12)


def test_what_is_exposed_by_hand() -> None:
    assert exposed(EXAMPLE, "dual", moe=True) == {"dispatch", "experts", "attention_out", "scatter", "router"}
    slow = EXAMPLE.replace(combine=35.5, dispatch=17.5)
    assert exposed(slow, "dual", moe=True) == {"shared", "gather", "attention_in", "experts", "combine"}
    assert exposed(EXAMPLE, "naive", moe=True) == {*OF_MOE} - {"shared"}


@given(made(OF_MOE), st.sampled_from(POLICIES), st.sampled_from(OF_MOE), st.floats(0.0, 1e-3))
def test_no_part_that_grows_makes_a_layer_faster(parts: Parts, policy: Policy, name: str, more: float) -> None:
    grown = parts.replace(**{name: getattr(parts, name) + more})
    assert layer(grown, policy, moe=True) >= layer(parts, policy, moe=True)


# -- the bars -----------------------------------------------------------------------------------------------------------------


def end(span: Span) -> float:
    return span.start + span.seconds


def played(parts: Parts, policy: Policy, layers: int) -> dict[tuple[str, int, int], tuple[float, float]]:
    """Beginning and end of each part of each micro-batch in each layer, the bars of one layer put behind each other.

    In the dual schedule the bars hold the attention of micro-batch 0 for the layer that follows.
    """
    found = {}
    each = layer(parts, policy, moe=True)
    for number in range(layers):
        for span in timeline(parts, policy, moe=True):
            ahead = (
                policy == "dual"
                and span.micro == 0
                and span.part in ("gather", "attention_in", "attention_out", "scatter", "router")
            )
            start = span.start + number * each
            found[span.part, span.micro, number + ahead] = (start, start + span.seconds)
    return found


#: What a part waits for in its own layer.
WAITS = {
    "attention_in": ["gather"],
    "attention_out": ["attention_in"],
    "scatter": ["attention_out"],
    "router": ["scatter"],
    "shared": ["router"],
    "dispatch": ["router"],
    "experts": ["dispatch"],
    "combine": ["experts"],
}


@given(made(OF_MOE), st.sampled_from(POLICIES))
def test_no_bar_begins_before_what_it_waits_for(parts: Parts, policy: Policy) -> None:
    bars = played(parts, policy, 4)
    slack = 1e-12
    checked = 0
    for (name, micro, number), (start, _) in bars.items():
        before = [(other, number) for other in WAITS.get(name, ())]
        before += [(other, number - 1) for other in ("combine", "shared", "experts")] if name == "gather" else []
        for other, where in before:
            if (other, micro, where) in bars:
                assert bars[other, micro, where][1] <= start + slack, (name, other, micro, number)
                checked += 1
    assert checked >= 3 * MICRO[policy] * len(WAITS)


@given(made(OF_MOE), st.sampled_from(POLICIES))
def test_no_lane_does_two_things_at_once(parts: Parts, policy: Policy) -> None:
    spans = list(timeline(parts, policy, moe=True))
    for lane in ("kernels", "network"):
        mine = sorted((span for span in spans if span.lane == lane), key=lambda span: (span.start, end(span)))
        for first, second in pairwise(mine):
            assert end(first) <= second.start + 1e-12
    assert max(map(end, spans)) == pytest.approx(layer(parts, policy, moe=True), rel=1e-12)


@pytest.mark.parametrize("policy", POLICIES)
def test_every_micro_batch_has_every_part_once(policy: Policy) -> None:
    spans = [(span.part, span.micro) for span in timeline(EXAMPLE, policy, moe=True)]
    assert sorted(spans) == sorted((name, micro) for name in OF_MOE for micro in range(MICRO[policy]))
    dense_spans = [(span.part, span.micro) for span in timeline(EXAMPLE.replace(mlp=5.0), policy, moe=False)]
    assert sorted(dense_spans) == sorted((name, micro) for name in OF_DENSE for micro in range(MICRO[policy]))


def test_bars_by_hand() -> None:
    spans = {(span.part, span.micro): (span.lane, span.start) for span in timeline(EXAMPLE, "dual", moe=True)}
    # Windows of 25, 20 and 35, and the same again for the other micro-batch.
    assert spans["dispatch", 0] == ("network", 0.0)
    assert spans["attention_in", 1] == ("kernels", 8.0)
    assert spans["experts", 0] == ("kernels", 25.0)
    assert spans["combine", 0] == ("network", 45.0)
    assert spans["router", 1] == ("kernels", 77.0)
    assert spans["dispatch", 1] == ("network", 80.0)
    assert spans["attention_out", 0] == ("kernels", 125.0)
