"""What the columns of a foreign table are: dimensions, the time, who measured it, and what is only kept in the notes."""

import re
from collections.abc import Sequence

from ..dims import list_fields
from ..mistake import Mistake, unknown
from ..operator import Operator
from ..record import Record
from .config import Config
from .rule import Rule, identifier, matching, rule
from .values import UNITS

#: Names of columns that say something of a row beside its dimensions, as identifiers in lower case.
_ROLES = {
    "provider": ("provider", "library", "lib", "backend", "impl", "implementation"),
    "version": ("version", "provider_version", "library_version"),
    "gpu": ("gpu", "device", "hw", "hardware"),
    "samples": ("samples", "num_samples", "repeats", "iterations", "iters", "rounds"),
    "status": ("status",),
    "notes": ("notes", "note", "comment", "comments", "remark", "remarks"),
}
#: What else can be mapped: the time, and the ends of its 95 % interval.
_TIMES = ("time", "low", "high")
_TIME_WORDS = {"latency", "time", "duration", "mean", "median", "avg", "average", "elapsed", "runtime", "t"}
#: Ends of an interval, where the name says that it is one.
_ENDS = {"ci_low": "low", "ci95_low": "low", "ci_lower": "low", "ci_high": "high", "ci95_high": "high", "ci_upper": "high"}
#: Parts of a name by which a column describes the scatter: kept in the notes, since none of them is an interval of the median.
_SCATTER = re.compile(r"(^|_)(min|max|low|high|lower|upper|std|stddev|stdev|var|iqr|q1|q3|p\d+|cv)(_|$)")
#: Names of what follows from the time, or says nothing of it.
_DERIVED = re.compile(
    r"^(.*_)?([tg]?flops?(_s)?|[tg]?flop_s|[gt]i?b_?p?s|bandwidth|bw|throughput|speed_?up|efficiency|util(isation|ization)?|mfu|mbu"
    r"|relative|ratio|index|id)(_.*)?$"
)


class Timed(Record):
    """One column of seconds."""

    column: str
    #: seconds per unit
    unit: float


class Columns(Record):
    """The columns of one table by what they are for."""

    rule: Rule
    time: Timed
    low: Timed | None = None
    high: Timed | None = None
    #: "provider", "gpu" ... -> column
    roles: dict[str, str] = {}
    #: kept in the notes as they are
    scatter: tuple[str, ...] = ()
    #: recognised, and not used
    unused: tuple[str, ...] = ()


def columns(cls: type[Operator], names: Sequence[str], config: Config) -> Columns:
    """What the columns `names` are. Raises Mistake for a column that is nothing known, and where no one time can be told."""
    ignored = {matching(name, names, f"--ignore {name}") for name in config.ignore}
    left = [name for name in names if name not in ignored]
    asked, dims = _targets(cls, config.map)
    found = rule(cls, left, dims, config.set)
    used = found.used
    rest = [name for name in left if name not in used and identifier(name) not in used]
    roles = {role: matching(name, left, f"--map {role}={name}") for role, name in asked.items() if role in _ROLES}
    for role, words in _ROLES.items():
        named = [name for name in rest if _plain(name) in words and name not in roles.values()]
        if role not in roles and named:
            roles[role] = named[0]
    rest = [name for name in rest if name not in roles.values()]
    time, low, high, others = _times(rest, left, asked, config.unit)
    taken = {one.column for one in (time, low, high) if one} | set(others)
    rest = [name for name in rest if name not in taken]
    scatter = tuple(name for name in rest if _SCATTER.search(_plain(name)))
    unused = [name for name in rest if name not in scatter and _derived(name)]
    for name in rest:
        if name not in scatter and name not in unused:
            raise Mistake(_stranger(cls, name))
    return Columns(rule=found, time=time, low=low, high=high, roles=roles, scatter=scatter, unused=(*others, *unused))


def _targets(cls: type[Operator], mapping: dict[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """A mapping as that of roles and times, and that of dimensions. Raises Mistake for a target that is neither."""
    known = {*_ROLES, *_TIMES, *(f"{time}_{unit}" for time in _TIMES for unit in ("s", "ms", "us", "ns"))}
    dims = {target: source for target, source in mapping.items() if target in cls.__struct_fields__}
    for target in mapping:
        if target not in dims and target not in known:
            targets = [*cls.__struct_fields__, *_ROLES, "time_us", "low_us", "high_us"]
            raise Mistake(f"--map: {unknown('target', target, targets)}")
    return {target: source for target, source in mapping.items() if target not in dims}, dims


def _times(
    rest: Sequence[str], left: Sequence[str], asked: dict[str, str], unit: str | None
) -> tuple[Timed, Timed | None, Timed | None, list[str]]:
    """The column of the time, those of its interval, and other columns of times, which are not used."""
    given: dict[str, tuple[str, str]] = {}
    for target, source in asked.items():
        role = target.partition("_")[0]
        if role in given:
            raise Mistake(f"--map: {given[role][0]!r} and {target!r} are the same; choose one")
        if role in _TIMES:
            given[role] = (target, source)
    mapped = {
        role: _timed(matching(name, left, f"--map {to}={name}"), to.partition("_")[2], unit) for role, (to, name) in given.items()
    }
    free = [name for name in rest if name not in {one.column for one in mapped.values()}]
    for name in free:
        end = _ENDS.get(_words(name)[0])
        if end and end not in mapped:
            mapped[end] = _timed(name, "", unit)
    if ("low" in mapped) != ("high" in mapped):
        raise Mistake(f"{'low' if 'low' in mapped else 'high'} is one end of an interval; the other end is missing")
    candidates = [name for name in free if _is_time(name)]
    if "time" not in mapped:
        if not candidates:
            raise Mistake(f"no column of times among {', '.join(left)}; expected one such as latency_us, or --map time_us=COLUMN")
        if len(candidates) > 1:
            raise Mistake(
                f"{len(candidates)} columns of times: {', '.join(candidates)}; choose one, such as --map time={candidates[0]}"
            )
        mapped["time"] = _timed(candidates.pop(), "", unit)
    return mapped["time"], mapped.get("low"), mapped.get("high"), candidates


def _timed(name: str, asked: str, unit: str | None) -> Timed:
    """A column of times with the unit that was asked for, or that its name has. Raises Mistake where there is none."""
    own = _words(name)[1]
    if asked and own and UNITS[asked] != UNITS[own]:
        raise Mistake(f"column {name!r} is mapped as {asked}, but its name says {own}")
    known = asked or own or unit
    if not known:
        raise Mistake(f"column {name!r} does not say its unit; --unit us does, or --map time_us={name}")
    return Timed(column=name, unit=UNITS[known])


def _is_time(name: str) -> bool:
    words = _words(name)[0].split("_")
    return bool(_TIME_WORDS.intersection(words)) and not _SCATTER.search("_".join(words)) and not _derived(name)


def _plain(name: str) -> str:
    """A name in lower case with _ between its words: "Latency (us)" -> "latency_us"."""
    return identifier(name).lower()


def _words(name: str) -> tuple[str, str]:
    """A name without its unit, and the unit, "" where it has none."""
    plain = _plain(name)
    head, _, last = plain.rpartition("_")
    return (head, last) if head and last in UNITS else (plain, "")


def _derived(name: str) -> bool:
    return bool(_DERIVED.match(_plain(name)))


def _stranger(cls: type[Operator], name: str) -> str:
    lengths = sorted(list_fields(cls))
    formula = f", --map {lengths[0]}=='[kv_len] * batch_size' makes lengths" if lengths else ""
    return (
        f"{unknown('column', name, cls.__struct_fields__)} (dimensions of {cls.name});"
        f" --map DIM={identifier(name)} makes it one{formula}, --ignore {name!r} passes it over"
    )
