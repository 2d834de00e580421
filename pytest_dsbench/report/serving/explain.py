"""One configuration explained: a step as a tree of sections, windows, parts and kernels, and what its numbers rest on."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...units import show_seconds, show_share
from ..table import table
from . import words
from .bars import bar_lines
from .basis import assumptions_lines, memory_lines, rates_lines, sources_lines
from .kernels import HEAD, cells, remark, stage

if TYPE_CHECKING:
    from ...serving.estimate import Estimate
    from ...serving.price.assumed import Assumed
    from ...serving.schedule import Policy, Window
    from ...serving.sections import Section, Term

#: A row of the table of all kernels, or a line between its rows.
_Item = str | list[str]
#: The section that showed the kernels of a part: where another one has the same, they are not listed again.
_Shown = dict[tuple["Term", ...], str]


def explain_lines(found: "Estimate", assumed: "Assumed") -> Iterator[str]:
    """The step down to its kernels, then memory, rates, what all of it rests on, and a layer as a picture of letters."""
    given = found.configuration
    yield words.title(given)
    yield f"  {words.layout(given)}"
    yield f"  {words.load(given, found.context)}"
    yield ""
    yield from _step(found)
    yield ""
    yield from _tree(found, assumed)
    for lines in (
        memory_lines(found, assumed),
        rates_lines(found, assumed),
        sources_lines(found),
        assumptions_lines(found, assumed),
        bar_lines(found),
    ):
        yield ""
        yield from lines


# -- the step ------------------------------------------------------------------------------------------------------------------


def _step(found: "Estimate") -> Iterator[str]:
    rows = [
        [f"  {words.section(one)}", show_seconds(one.seconds), *_of_step(one.count * one.seconds, found)]
        for one in _ordered(found)
    ]
    rows.append(["  host", show_seconds(found.host), *_of_step(found.host, found)])
    yield from table(["step", "each", "all", "of the step"], [*rows, ["  sum", "", *_of_step(found.step, found)]])


def _ordered(found: "Estimate") -> list["Section"]:
    """What takes most of the step first."""
    return sorted(found.sections, key=lambda one: -one.count * one.seconds)


def _of_step(seconds: float, found: "Estimate") -> tuple[str, str]:
    return show_seconds(seconds), show_share(seconds / found.step)


def _tree(found: "Estimate", assumed: "Assumed") -> Iterator[str]:
    """All sections; the columns of their kernels stand below each other."""
    shown: _Shown = {}
    items = [item for one in _ordered(found) for item in ("", *_section(one, found, assumed, shown))][1:]
    head, *rows = table(HEAD, [item for item in items if not isinstance(item, str)], left=1, last_left=True)
    aligned = iter(rows)
    for number, item in enumerate(items):
        yield item if isinstance(item, str) else next(aligned)
        if isinstance(item, str) and (not number or not items[number - 1]):
            yield head


def _section(one: "Section", found: "Estimate", assumed: "Assumed", seen: _Shown) -> Iterator[_Item]:
    from ...serving.schedule import MICRO, windows

    policy = found.configuration.policy
    micro = MICRO[policy]
    each = f"{show_seconds(one.seconds)} each" if one.count > 1 else show_seconds(one.seconds)
    parted = f" = {micro} micro-batches x {show_seconds(one.seconds / micro)}" if micro > 1 else ""
    whole, share = _of_step(one.count * one.seconds, found)
    yield f"{words.section(one)}: {each}{parted}{f'; {whole}' if one.count > 1 else ''}, {share} of the step"
    if one.parts is None:
        yield from _part("head", "  head", one, found, assumed, seen)
        return
    here, named = {term.part for term in one.terms}, _names(one, policy)
    shown = [pair for pair in windows(policy, one.kind == "moe") if here & {*pair[0], *pair[1]}]
    for number, window in enumerate(shown, 1):
        if one.kind == "moe":
            yield f"  window {number} of {len(shown)}: {_beside(one, window, named)}"
        for names in window:
            for name in names:
                if name in here:
                    yield from _part(name, f"    {named[name]}", one, found, assumed, seen)


def _beside(one: "Section", window: "Window", named: dict[str, str]) -> str:
    """What runs beside what, and which lane the other one waits for."""
    lanes = []
    for lane, names in zip(("kernels", "network"), window, strict=True):
        present = [name for name in names if any(term.part == name for term in one.terms)]
        took = sum(getattr(one.parts, name) for name in present)
        if present:
            lanes.append((took, f"{lane} {show_seconds(took)} ({', '.join(named[name] for name in present)})"))
    longest = show_seconds(max(took for took, _ in lanes))
    if len(lanes) == 1:
        return f"{longest}, {lanes[0][1].replace(f' {longest}', ' alone')}"
    binding = "the kernels bind" if lanes[0][0] >= lanes[1][0] else "the network binds"
    return f"{longest}, {lanes[0][1]} beside {lanes[1][1]}: {binding}"


def _names(one: "Section", policy: "Policy") -> dict[str, str]:
    """The parts in the first of both halves, in which the network carries A; attention then works on B."""
    from ...serving.schedule import timeline

    if one.kind != "moe":
        policy = "naive"
    assert one.parts is not None
    found: dict[str, str] = {}
    for span in timeline(one.parts, policy, moe=one.kind == "moe"):
        found.setdefault(span.part, words.whose(span.part, span.micro, policy))
    return found


def _part(name: str, shown: str, one: "Section", found: "Estimate", assumed: "Assumed", seen: _Shown) -> Iterator[_Item]:
    """`shown`: what it is called here, indented."""
    terms = tuple(term for term in one.terms if term.part == name)
    seconds = sum(term.seconds for term in terms)
    if name in one.exposed:
        said = f"{show_share(found.repeats(one) * seconds / found.step)} of the step"
    else:
        said = f"hidden behind {_front(one, name, found)}: costs nothing"
    where = seen.setdefault(terms, words.section(one))
    again = where != words.section(one)
    yield stage(shown, seconds, f"{said}; as in {where}" if again else said)
    gpu, indent = found.configuration.gpu, " " * (len(shown) - len(shown.lstrip()))
    for term in () if again else terms:
        yield cells(term, gpu, assumed, f"{indent}  ")
        yield from remark(term, gpu, assumed, f"{indent}      ")


def _front(one: "Section", name: str, found: "Estimate") -> str:
    """What a hidden part hides behind."""
    from ...serving.schedule import windows

    for kernels, network in windows(found.configuration.policy, one.kind == "moe"):
        if name in kernels:
            return f"the {' and '.join(network)}"
        if name in network:
            return "the kernels"
    raise AssertionError(name)
