"""What pytest selected, in our terms: the cases of items, and of which operators the whole was asked for."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from .jobs import Fuzz, Job
from .measurement import OWN, Planned, fuzzed, planned
from .operators import everything
from .options import Options
from .provider import Provider
from .runs import Coverage


def is_bench(item: pytest.Item) -> bool:
    """Whether an item asks for the `dsbench` of this plugin; a suite may have a fixture of its own by that name."""
    if "dsbench" not in getattr(item, "fixturenames", ()):
        return False
    # The innermost comes last, and may build upon the one before it.
    known = getattr(item, "_fixtureinfo", None)
    for one in reversed(known.name2fixturedefs.get("dsbench", ()) if known is not None else ()):
        if one.func.__module__ == "pytest_dsbench.plugin":
            return True
        if "dsbench" not in one.argnames:
            return False
    return True


def promises(item: pytest.Item) -> bool:
    """Whether an item is to produce a record: a bench by hand is, and one of a shape file that has a case and a provider."""
    callspec = getattr(item, "callspec", None)
    return isinstance(callspec.params.get("dsbench", None), (Job, Fuzz, type(None))) if callspec is not None else True


def operator_of(item: pytest.Item) -> str:
    """The operator of a bench, or the name of one by hand."""
    named = getattr(getattr(item, "function", None), "operator", None)
    return named.name if named is not None else item.name.removeprefix("bench_").partition("[")[0]


def planned_case(item: pytest.Item) -> Planned:
    """The case of a bench, as its first record will name it; of drawn shapes the seed is told by the record alone."""
    callspec = getattr(item, "callspec", None)
    match callspec.params.get("dsbench") if callspec is not None else None:
        case Job(case=case, provider=Provider(name=name)):
            return planned(case, name, bench_of(item))
        case Fuzz(operator=operator, provider=provider, draws=draws):
            return fuzzed(operator.name, provider.name, f"fuzz {draws[0]}", place_of(item))
    return by_hand(item)


def by_hand(item: pytest.Item, again: str = "") -> Planned:
    """The case of a bench by hand: its name, its parameters, its place; `again` tells the second call from the first."""
    name, _, label = item.name.removeprefix("bench_").partition("[")
    params = getattr(getattr(item, "callspec", None), "params", {})
    return Planned(
        operator=name,
        dims={key: value for key, value in params.items() if isinstance(value, (int, float, str))},
        label=label.removesuffix("]") + again,
        tags=tuple(mark.name for mark in item.iter_markers() if mark.name != "parametrize"),
        where=place_of(item),
        provider=OWN,
        bench=bench_of(item),
    )


def bench_of(item: pytest.Item) -> str:
    """`path::function` of the bench."""
    return item.nodeid.partition("[")[0]


def place_of(item: pytest.Item) -> str:
    """`path:line` of the bench."""
    path, line, _ = item.location
    return f"{path}:{(line or 0) + 1}"


def coverage(config: pytest.Config, options: Options, partial: Iterable[str]) -> Coverage:
    """What of the suite was asked for; `partial`: operators and benches of which a case was deselected."""
    given, root = config.getoption, config.rootpath
    left_out = any(given(name, None) for name in ("lf", "ignore", "ignore_glob", "stepwise"))
    places = [] if left_out else [Path(word) for word in config.args if "::" not in word]
    places = [place if place.is_absolute() else config.invocation_params.dir / place for place in places]
    paths = tuple(place.resolve().relative_to(root).as_posix() for place in places if place.resolve().is_relative_to(root))
    return Coverage(
        paths=tuple("" if path == "." else path for path in paths),
        partial=tuple(sorted(partial)),
        providers=options.providers,
        opt_in=tuple(sorted({one.name for known in everything().values() for one in known.providers.values() if one.opt_in})),
    )
