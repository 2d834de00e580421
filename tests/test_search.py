"""The search against a loop over single estimates, the Pareto front against all pairs, and the shapes that it wants measured."""

import csv
import io
import random
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pytest_dsbench.hardware import Hardware
from pytest_dsbench.hardware import named as gpu_named
from pytest_dsbench.serving.configuration import Configuration, at
from pytest_dsbench.serving.estimate import Estimate, estimate
from pytest_dsbench.serving.grid import Grid, lacking
from pytest_dsbench.serving.model.architecture import named as model_named
from pytest_dsbench.serving.precision import named as precision_named
from pytest_dsbench.serving.price.assumed import defaults
from pytest_dsbench.serving.price.links import domain
from pytest_dsbench.serving.price.nic import named as nic_named
from pytest_dsbench.serving.search import axes
from pytest_dsbench.serving.search.rows import COLUMNS, as_csv
from pytest_dsbench.serving.search.search import Floor, Found, pareto, search
from pytest_dsbench.serving.search.wanted import shape_files, wanted
from pytest_dsbench.shapes import load

ASSUMED = defaults()
GPUS = ("h800", "h20", "a100", "l20", "gb200")


def drawn(seed: int) -> Grid:
    """A small grid with something in the way of some of it."""
    chance = random.Random(seed)
    model = model_named(chance.choice(["deepseek_v3", "deepseek_v3", "qwen3_30b_a3b", "qwen3_8b"]))
    decode = chance.random() < 0.7

    def some(values: Any, most: int) -> tuple[Any, ...]:
        return tuple(chance.sample(list(values), chance.randint(1, min(most, len(values)))))

    return Grid(
        model=model,
        gpus=tuple(map(gpu_named, some(GPUS, 3))),
        nics=tuple(map(nic_named, some(("cx7", "e810"), 2))),
        splits=tuple(axes.split(model, ep, None, ASSUMED) for ep in some(axes.eps(model), 2)),
        tps=some((1, 4, 16), 2),
        precisions=tuple(precision_named(word, "bf16") for word in some(("bf16", "fp8", "fp4"), 2)),
        policies=some(("naive", "dual"), 2),
        mtps=some((0, 1), 2) if model.draft_layers and decode else (0,),
        batches=tuple(sorted(some(range(1, 200), 4))),
        context=chance.choice([512, 4096]),
        decode=decode,
    )


def one_by_one(grid: Grid) -> list[tuple[Configuration, Estimate | None, str]]:
    """Every configuration in the order of the axes, what it reaches, and what is in its way; worked out one at a time."""
    found = []
    for gpu, nic, split, tp, precision, policy, mtp, batch in product(*grid.axes.values()):
        given = Configuration(
            model=grid.model,
            gpu=gpu,
            nic=nic,
            split=split,
            tp=tp,
            precision=precision,
            policy=policy,
            mtp=mtp,
            batch=batch,
            context=grid.context,
            decode=grid.decode,
        )
        if lacking(gpu, precision) is not None:
            found.append((given, None, "unit"))
        elif tp > domain(gpu) or (split is not None and split.ep % tp):
            found.append((given, None, "tp"))
        else:
            one = estimate(given, ASSUMED)
            found.append((given, one, "" if one.fits else "memory"))
    return found


def test_the_drawn_grids_have_all_of_it() -> None:
    """A check of the checks: every reason is there, and what fits too."""
    reasons = [why for seed in range(14) for _, _, why in one_by_one(drawn(seed))]
    assert min(reasons.count(why) for why in ("", "unit", "tp", "memory")) > 20
    assert {grid.decode for grid in map(drawn, range(14))} == {True, False}
    assert len({grid.model.name for grid in map(drawn, range(14))}) == 3


def beaten(pairs: list[tuple[float, float]], number: int) -> bool:
    """Whether another pair is better in one number and no worse in the other; of equal ones the first counts."""
    a, b = pairs[number]
    return any(
        (c >= a and d >= b and (c > a or d > b)) or (c == a and d == b and other < number)
        for other, (c, d) in enumerate(pairs)
        if other != number
    )


def near(one: float) -> Any:
    return pytest.approx(one, rel=1e-12)


@pytest.mark.parametrize("seed", range(14))
def test_the_search_finds_what_a_loop_finds(seed: int) -> None:
    grid = drawn(seed)
    every = one_by_one(grid)
    fitting = {number: one for number, (_, one, why) in enumerate(every) if one is not None and not why}
    users = sorted(one.user for one in fitting.values())
    # Between two rates, so that rounding decides nothing; in prefill as a time.
    value = (users[len(users) // 2] * 0.999) if users else 20.0
    floor = Floor(of="tps", value=value) if grid.decode else Floor(of="ttft", value=grid.context / value)
    found = search(grid, ASSUMED, floor=floor)

    fast = {number: one for number, one in fitting.items() if one.user >= value}
    groups: dict[int, list[int]] = {}
    for number in fast:
        groups.setdefault(number // len(grid.batches), []).append(number)
    best = [max(group, key=lambda number: fast[number].per_gpu) for group in groups.values()]
    rates = [found.row(int(number)).per_gpu for number in found.best]
    assert sorted(found.best.tolist()) == sorted(best)
    assert rates == sorted(rates, reverse=True)
    for number in found.best.tolist():
        row, (given, one, _) = found.row(number), every[number]
        assert one is not None and row.configuration == given == at(grid, number)
        assert (row.user, row.per_gpu, row.step, row.tpot) == tuple(
            map(near, (one.user, one.per_gpu, one.step, one.step / one.gained))
        )
        assert row.need == near(one.need.total) and row.usable == one.usable
    for tally in found.tallies:
        whys = [why for given, _, why in every if given.gpu.name == tally.gpu]
        slow = sum(given.gpu.name == tally.gpu for number, (given, _, _) in enumerate(every) if number in fitting) - tally.left
        assert tally.configurations == len(whys)
        assert (tally.unit, tally.tp, tally.memory, tally.floor) == (
            whys.count("unit"),
            whys.count("tp"),
            whys.count("memory"),
            slow,
        )
    assert sum(tally.left for tally in found.tallies) == len(fast)


@pytest.mark.parametrize("seed", range(14))
def test_the_front_is_what_nothing_beats(seed: int) -> None:
    grid = drawn(seed)
    found = search(grid, ASSUMED, floor=Floor(of="tpot", value=1e-9))
    assert not len(found.best)
    rows = {}
    for number, (_, one, why) in enumerate(one_by_one(grid)):
        if one is not None and not why:
            row = found.row(number)
            assert (row.user, row.per_gpu) == (near(one.user), near(one.per_gpu))
            rows[number] = (row.user, row.per_gpu)
    for front, gpu in ((found.front, None), *((found.fronts[gpu.name], gpu) for gpu in grid.gpus)):
        numbers = [number for number in rows if gpu is None or at(grid, number).gpu == gpu]
        pairs = [rows[number] for number in numbers]
        kept = [numbers[place] for place in range(len(pairs)) if not beaten(pairs, place)]
        assert sorted(front.tolist()) == kept
        shown = [rows[int(number)] for number in front]
        assert all(before[0] > after[0] and before[1] < after[1] for before, after in pairwise(shown))


@pytest.mark.parametrize("seed", range(40))
def test_pareto_against_all_pairs(seed: int) -> None:
    """Of few values, so that many are equal."""
    chance = np.random.default_rng(seed)
    count = int(chance.integers(0, 60))
    first, second = (chance.integers(0, 2 + seed % 9, count).astype(float) for _ in range(2))
    pairs = list(zip(first.tolist(), second.tolist(), strict=True))
    found = pareto(first, second).tolist()
    assert sorted(found) == [place for place in range(count) if not beaten(pairs, place)]
    assert [pairs[place] for place in found] == sorted((pairs[place] for place in found), reverse=True)


def made(gpus: tuple[Hardware, ...], batches: tuple[int, ...] = (16, 32), **others: Any) -> Grid:
    model = model_named("deepseek_v3")
    given: dict[str, Any] = {
        "nics": (nic_named("cx7"),),
        "splits": (axes.split(model, 144, None, ASSUMED),),
        "tps": (1,),
        "precisions": (precision_named("fp8"),),
        "policies": ("dual",),
        "mtps": (0,),
        "context": 4096,
        **others,
    }
    return Grid(model=model, gpus=gpus, batches=batches, **given)


def test_of_equals_the_first_stands_first() -> None:
    h800 = gpu_named("h800")
    gpus = tuple(h800.replace(name=name) for name in ("b", "a", "c"))
    found = search(made(gpus), ASSUMED)
    assert [row.configuration.gpu.name for row in found.rows(found.best)] == ["b", "a", "c"]
    assert {row.configuration.gpu.name for row in found.rows(found.front)} == {"b"}
    assert all(len(front) == len(found.front) for front in found.fronts.values())


def test_floors_say_the_same_in_their_own_units() -> None:
    grid = made((gpu_named("h800"),), tuple(range(8, 129, 8)), mtps=(0, 1))
    by_rate = search(grid, ASSUMED, floor=Floor(of="tps", value=27.1))
    by_time = search(grid, ASSUMED, floor=Floor(of="tpot", value=1 / 27.1))
    assert by_rate.best.tolist() == by_time.best.tolist() and len(by_rate.best) == 2
    assert all(row.user >= 27.1 and row.tpot <= 1 / 27.1 for row in by_rate.rows(by_rate.best))
    assert Floor(of="tpot", value=0.05).user(1.85) == 20 and Floor(of="tps", value=7.0).user(1.85) == 7
    assert Floor(of="ttft", value=0.5).user(4096.0) == 8192


def test_a_sheet_without_memory_holds_everything() -> None:
    bare = gpu_named("h800").replace(memory=None, name="bare")
    found = search(made((bare, gpu_named("h800")), (4000,)), ASSUMED)
    assert [tally.memory for tally in found.tallies] == [0, 1] and found.row(int(found.best[0])).usable is None


def test_the_nearest_where_nothing_fits() -> None:
    grid = made((gpu_named("l20"), gpu_named("h800")), (300, 400, 500))
    found = search(grid, ASSUMED)
    assert not len(found.best) and not len(found.front)
    near = found.nearest()
    short = [one.need.total - (one.usable or 0) for _, one, _ in one_by_one(grid) if one is not None]
    assert near is not None and at(grid, short.index(min(short))) == near
    assert search(made((gpu_named("h800"),), precisions=(precision_named("fp4"),)), ASSUMED).nearest() is None


# -- CSV and shape files ------------------------------------------------------------------------------------------------------


def table(found: Found) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(as_csv(found))))


def test_the_csv_has_every_digit_and_both_fronts() -> None:
    grid = made((gpu_named("h800"), gpu_named("h20")), tuple(range(8, 129, 8)), mtps=(0, 1))
    found = search(grid, ASSUMED, floor=Floor(of="tps", value=25))
    rows = table(found)
    assert tuple(rows[0]) == COLUMNS
    ranked = [row for row in rows if row["rank"]]
    assert [int(row["rank"]) for row in ranked] == list(range(1, len(found.best) + 1))
    for row, ours in zip(ranked, found.rows(found.best), strict=True):
        assert (float(row["user_tokens_per_s"]), float(row["tokens_per_s_per_gpu"])) == (ours.user, ours.per_gpu)
        assert (float(row["need_bytes"]), float(row["usable_bytes"])) == (ours.need, ours.usable)
        assert (row["gpu"], row["ep"], row["local_experts"], row["weights"]) == (ours.configuration.gpu.name, "144", "2", "fp8")
        assert float(row["step_s"]) == ours.step and float(row["tpot_s"]) == ours.tpot
    assert sum(row["front"] == "all" for row in rows) == len(found.front)
    own = set().union(*(front.tolist() for front in found.fronts.values()))
    assert sum(row["front"] != "" for row in rows) == len(own)
    keys = [tuple(row[name] for name in COLUMNS[2:12]) for row in rows]
    assert len(set(keys)) == len(keys)


def test_a_dense_model_has_no_experts_in_the_csv() -> None:
    grid = made((gpu_named("h800"),)).replace(
        model=model_named("qwen3_8b"), splits=(None,), nics=(None,), precisions=(precision_named("bf16"),)
    )
    row = table(search(grid, ASSUMED))[0]
    assert (row["nic"], row["ep"], row["local_experts"]) == ("", "", "")


@pytest.mark.parametrize("decode", [True, False])
@pytest.mark.parametrize("model", ["deepseek_v3", "qwen3_30b_a3b", "qwen3_8b"])
def test_shape_files_are_read_as_they_were_meant(tmp_path: Path, model: str, decode: bool) -> None:
    shape = model_named(model)
    ep = axes.eps(shape)[-1]
    given = Configuration(
        model=shape,
        gpu=gpu_named("gb200"),
        nic=nic_named("cx7"),
        split=axes.split(shape, ep, None, ASSUMED),
        precision=precision_named("fp4" if model == "deepseek_v3" else "fp8", "fp8"),
        batch=6,
        context=300,
        decode=decode,
    )
    found = wanted(estimate(given, ASSUMED))
    for name, text in shape_files(found, 'a "quoted" \\ source').items():
        (tmp_path / name).write_text(text)
    read = load([tmp_path])
    assert not read.broken and {case.op for case in read.cases} == set(found.shapes)
    assert {case.tags for case in read.cases} == {("serve",)} and read.cases[0].source == 'a "quoted" \\ source'
    # The keys are bf16 in the operator and fp8 in this cache: its measurement would be of something else.
    assert found.inexact >= decode
