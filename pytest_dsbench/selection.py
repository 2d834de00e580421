"""What pytest selected, in our terms: the cases of items, and of which operators the whole was asked for."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from .jobs import Fuzz, Job
from .measurement import Planned, planned
from .operator import Provider
from .operators import everything
from .options import Options
from .runs import Coverage


def promises(item: pytest.Item) -> bool:
    """Whether an item is to produce a record: a bench by hand is, and one of a shape file that has a case and a provider."""
    callspec = getattr(item, "callspec", None)
    return isinstance(callspec.params.get("dsbench", None), (Job, Fuzz, type(None))) if callspec is not None else True


def operator_of(item: pytest.Item) -> str:
    """The operator of a bench, or the name of one by hand."""
    named = getattr(getattr(item, "function", None), "operator", None)
    return named.name if named is not None else item.name.removeprefix("bench_").partition("[")[0]


def planned_case(item: pytest.Item) -> Planned | None:
    """The case of a bench of a shape file; None for what only the bench itself can name."""
    callspec = getattr(item, "callspec", None)
    match callspec.params.get("dsbench") if callspec is not None else None:
        case Job(case=case, provider=Provider(name=name)):
            return planned(case, name, item.nodeid.partition("[")[0])
    return None


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
