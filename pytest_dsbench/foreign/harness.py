"""Reads what `pytest --benchmark-json` writes: of our own benches, which say what they are, and of any other ones."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from ..dims import list_fields
from ..mistake import Mistake
from ..operator import Operator
from ..operators import find
from ..roofline import Bound
from ..stats import Estimate, estimate
from ..textfile import text_of
from .config import Config
from .found import IMPORTED, Found, Unusable, json_of, single
from .imported import moment
from .rule import matching, rule
from .values import positive


def found(path: Path, config: Config) -> Iterator[Found | Unusable]:
    """What the benchmarks of one file say, in order, each mistake in its place. Raises Mistake where it is no such file."""
    text = text_of(path)
    data = json_of(text, path)
    benchmarks = data.get("benchmarks") if isinstance(data, dict) else None
    if not isinstance(benchmarks, list):
        raise Mistake(f"{path}: not of pytest-benchmark: no list of benchmarks; `pytest --benchmark-json FILE` writes one")
    if not benchmarks:
        raise Mistake(f"{path}: its list of benchmarks is empty; nothing was measured")
    at = _at(data)
    places = _Places(text)
    for one in benchmarks:
        where = f"{path}:{places.next(one)}"
        try:
            yield _found(where, one, at, config)
        except Mistake as error:
            yield Unusable(where=where, reason=f"{_name(one)}: {error}")


class _Places:
    """The lines on which benchmarks begin, which come in the order of the file."""

    def __init__(self, text: str) -> None:
        self._text, self._from, self._line = text, 0, 1

    def next(self, benchmark: Any) -> int:
        """The line of the full name of the next benchmark; that of the one before where it is not found."""
        name = benchmark.get("fullname") if isinstance(benchmark, dict) else None
        at = self._text.find(json.dumps(name), self._from) if isinstance(name, str) else -1
        if at >= 0:
            self._line += self._text.count("\n", self._from, at)
            self._from = at
        return self._line


def _name(benchmark: Any) -> str:
    return str(benchmark.get("name", "a benchmark")) if isinstance(benchmark, dict) else "a benchmark"


def _at(data: dict[str, Any]) -> float | None:
    """When the file was written, where it says."""
    said = data.get("datetime")
    return moment(said).timestamp() if isinstance(said, str) else None


def _found(where: str, benchmark: Any, at: float | None, config: Config) -> Found:
    stats = benchmark.get("stats") if isinstance(benchmark, dict) else None
    if not isinstance(stats, dict):
        raise Mistake("has no stats; expected a benchmark as pytest-benchmark writes it")
    extra = benchmark.get("extra_info")
    extra = extra if isinstance(extra, dict) else {}
    time, note = _time(stats)
    common = Found(where=where, operator="", dims={}, provider="", time=time, at=at, notes=(note,) if note else ())
    return _own(common, extra, config) if "t_sol_s" in extra else _other(common, benchmark, config)


def _time(stats: dict[str, Any]) -> tuple[Estimate, str]:
    """The estimate from all samples where the file has them; else the bare median, and what is not known of it."""
    data, rounds = stats.get("data"), stats.get("rounds")
    if isinstance(data, list) and data:
        return estimate([positive(one, one) for one in data], IMPORTED), ""
    median = positive(stats.get("median"), stats.get("median"))
    return single(median), f"the median of {rounds} rounds, which are not in the file: no interval"


def _own(common: Found, extra: dict[str, Any], config: Config) -> Found:
    """A case of ours, restored from what our bridge wrote beside it."""
    if "dims" not in extra:
        raise Mistake("a bench of ours by a version that did not write its shape; --operator and --map cannot be asked for it")
    fields = {
        "operator": extra.get("operator"),
        "dims": extra.get("dims"),
        "provider": config.provider or extra.get("provider"),
        "label": extra.get("label"),
        "bench": extra.get("bench", ""),
        "gpu": extra.get("hardware"),
        "cold": extra.get("cold"),
        "status": extra.get("status", "passed"),
        "reason": extra.get("reason"),
        "packages": extra.get("packages", {}),
        "work": extra.get("work"),
    }
    try:
        own = msgspec.convert({**msgspec.to_builtins(common), **fields}, Found)
    except msgspec.ValidationError as error:
        raise Mistake(f"its extra_info is not as our benches write it: {error}") from None
    return own.replace(notes=(*own.notes, f"timed by {extra.get('clock')}"), bound=_measured_roof(extra))


def _measured_roof(extra: dict[str, Any]) -> Bound | None:
    """The bound as the run had it where its roof was measured, as that of a CPU is; a sheet's is computed again."""
    if extra.get("hardware") != "cpu":
        return None
    raw = {"seconds": extra.get("t_sol_s"), "by": extra.get("bound_by"), "regime": extra.get("regime")}
    try:
        return msgspec.convert(raw, Bound)
    except msgspec.ValidationError as error:
        raise Mistake(f"its extra_info is not as our benches write it: {error}") from None


def _other(common: Found, benchmark: dict[str, Any], config: Config) -> Found:
    """A bench of somebody else's: its parameters are the dimensions, as a mapping says."""
    if config.operator is None:
        raise Mistake("which operator does it measure? --operator NAME says so")
    params = benchmark.get("params")
    params = params if isinstance(params, dict) else {}
    cls = find(config.operator)
    left = {name: one for name, one in params.items() if name not in config.ignore}
    mapping = dict(config.map)
    named = matching(mapping.pop("provider"), left, "--map provider") if "provider" in mapping else None
    left_names = [name for name in left if name != named]
    known = rule(cls, left_names, mapping, config.set)
    unused = [name for name in left_names if name not in known.used]
    if unused:
        raise Mistake(
            f"parameter {unused[0]!r} is no dimension of {cls.name}; --map DIM={unused[0]} makes it one, --ignore drops it"
        )
    provider = config.provider or (str(left[named]) if named else None)
    if not provider:
        raise Mistake("who ran this? --provider NAME says so, or --map provider=PARAMETER")
    values = {name: _listed(one, name, cls) for name, one in left.items()}
    return common.replace(
        operator=cls.name,
        dims=known.dims(cls, values),
        provider=provider,
        notes=(*common.notes, f"benchmark {_name(benchmark)}"),
        packages={provider: config.version} if config.version else {},
    )


def _listed(given: Any, name: str, cls: type[Operator]) -> Any:
    """A parameter; what pytest-benchmark could not write stands there as words."""
    if given is None or (isinstance(given, str) and given.startswith("UNSERIALIZABLE")):
        raise Mistake(f"parameter {name!r} is {given!r}; expected a number, a word or a list")
    return given if isinstance(given, list) and list_fields(cls) else str(given) if isinstance(given, list) else given
