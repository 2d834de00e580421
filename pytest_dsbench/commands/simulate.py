"""Commands about the gate itself: simulate-gate."""

import argparse
from collections.abc import Iterator
from statistics import median
from typing import TYPE_CHECKING, Any

from ..mistake import Mistake
from ..report.table import table

if TYPE_CHECKING:
    from ..simulate.creep import Crept
    from ..simulate.nights import Outcome
    from ..simulate.tally import Tally

_HEAD = ("gate", "false alarms / night", "nights with any", "3 % found", "5 %", "10 %")
#: Fewer cases than this have no strata, and leave no room for slowdowns of every size.
_LEAST = 20


def add(commands: Any) -> None:
    """Adds the commands to the parser."""
    parser = commands.add_parser("simulate-gate", help="what the gate, and simpler rules, find in nights of simulated noise")
    parser.add_argument("--nights", type=int, default=150, metavar="N", help="nights after the history (default: 150)")
    parser.add_argument("--cases", type=int, default=800, metavar="N", help="cases of a night (default: 800)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of all random numbers (default: 1)")
    parser.add_argument("--creep", action="store_true", help="cases that get slower by 0.2 %% a night, instead")
    parser.set_defaults(command=_simulate)


def _simulate(given: argparse.Namespace) -> Iterator[str]:
    for name, least in (("nights", 1), ("cases", _LEAST), ("seed", 0)):
        if getattr(given, name) < least:
            raise Mistake(f"--{name} {getattr(given, name)}: expected a whole number, {least} or more")
    if given.creep:
        from ..simulate.creep import creep

        yield from _creep_lines(creep(given.cases, given.seed), given)
    else:
        from ..simulate.nights import simulate

        outcome = simulate(given.nights, given.cases, given.seed)
        yield from table(_HEAD, [_row(one) for one in outcome.tallies])
        yield ""
        yield from _remarks(outcome, given)


def _row(one: "Tally") -> list[str]:
    found = [f"{one.share(size):.3f}" for size in one.found]
    return [one.name, f"{one.false_alarms:.2f}", f"{100 * one.false_nights:.1f} %", *found]


def _remarks(outcome: "Outcome", given: argparse.Namespace) -> Iterator[str]:
    alone, duet = outcome.tallies[-2:]
    same_night = ", ".join(f"{alone.share(size, later=False):.3f}" for size in alone.found)
    yield f"no old provider: found the same night {same_night}; the others where the slowdown is there the next night too"
    yield (
        f"measured again per night: {duet.suspicions:.1f} suspects by a duet, {alone.suspicions:.1f} in fresh processes;"
        f" {duet.slower:.1f} and {alone.slower:.1f} of them for being slower;"
        f" the duets took {outcome.pairs:.0f} pairs of processes"
    )
    yield f"nights on which the environment was not fit for some case: {duet.unfit}"
    yield (
        f"{outcome.decisions} decisions of each gate: {given.nights} nights of {given.cases} cases, {sum(duet.injected.values())}"
        f" slowdowns; seed {given.seed}"
    )


def _creep_lines(crept: "Crept", given: argparse.Namespace) -> Iterator[str]:
    from ..simulate.creep import NIGHTS, STEP

    nights = sorted(one for one in crept.found if one is not None)
    count, step = len(crept.found), 100 * STEP
    yield f"{count} of {given.cases} cases get slower by {step:.1f} % a night, {NIGHTS} nights; seed {given.seed}"
    if nights:
        middle = median(nights)
        yield (
            f"found: {len(nights)}, after {nights[0]} to {nights[-1]} nights, in the middle {middle:g},"
            f" when {100 * ((1 + STEP) ** middle - 1):.1f} % had crept"
        )
    else:
        yield "found: none"
    yield f"false alarms: {crept.false}; suspects per night: {crept.suspicions:.1f}"
