"""The summary at the end of a run: one line per operator and provider, then the notes."""

import re
from collections import Counter
from collections.abc import Sequence
from statistics import median

from ..measurement import Measurement
from ..runs import Header
from ..score import SELECTIONS, entries, score
from ..units import show_seconds, show_share
from .bounds import headline
from .score import total_line
from .table import table

_UNGATED = ("noisy_host", "throttled")
_ENDED = ("crashed", "timed_out")


def summary_lines(found: Sequence[Measurement], header: Header, verbose: bool) -> list[str]:
    """The whole summary as plain lines."""
    lines = [headline(header.hardware), ""]
    if verbose:
        lines += [*_cases(found), ""]
    lines += table(*operator_table(found), left=2, last_left=True)
    if scored := score_lines(found):
        lines += ["", *scored]
    said = [*_ended(found), *remarks(found), *absent_lines(header.absent), *header.notes]
    if said:
        lines += ["", *said]
    return [*lines, "", *_ran(found)] if any(one.ran for one in found) else lines


def _groups(found: Sequence[Measurement]) -> dict[tuple[str, str], list[Measurement]]:
    groups: dict[tuple[str, str], list[Measurement]] = {}
    for one in found:
        groups.setdefault((one.case.operator, one.case.provider), []).append(one)
    return groups


def operator_table(found: Sequence[Measurement]) -> tuple[list[str], list[list[str]]]:
    """Head and rows of the table with a line for each operator and provider."""
    head = ["operator", "provider", "share", "pass", "fail", "skip", "median", "worst", "T", "T_SOL", "regime", "worst case"]
    rows = []
    for (operator, provider), group in _groups(found).items():
        left = sum(one.status == "not_run" for one in group)
        failed = sum(not one.ok for one in group) - left
        skipped = sum(one.status == "skipped" for one in group)
        # What was not run is in none of these: it is told below, with its reason.
        counts = [f"{len(group) - left - failed - skipped}", f"{failed}", f"{skipped}"]
        # Cases that a model brings, or that were added, have none.
        weight = next((one.case.importance for one in group if one.case.importance is not None), None)
        rows.append([operator, provider, "-" if weight is None else show_share(weight), *counts, *_worst(group)])
    return head, rows


def score_lines(found: Sequence[Measurement]) -> list[str]:
    """The importance-weighted score of each selection of cases, where operators of the run have an importance."""
    known = {one.case.operator: one.case.importance for one in found if one.case.importance is not None}
    scored = entries(found)
    return [total_line(score(scored, selection), known) for selection in SELECTIONS] if scored else []


def _worst(group: Sequence[Measurement]) -> list[str]:
    """Median and worst efficiency, and the worst case, among the cases that may be judged by it."""
    timed = [one for one in group if one.status == "passed" and one.efficiency is not None and one.cold]
    timed = timed or [one for one in group if one.status == "passed" and one.efficiency is not None]
    if not timed:
        return ["-", "-", "-", "-", "-", "-"]
    worst = min(timed, key=lambda one: one.efficiency or 0.0)
    middle = median(one.efficiency or 0.0 for one in timed)
    assert worst.time is not None and worst.bound is not None and worst.efficiency is not None
    times = [show_seconds(worst.time.median), show_seconds(worst.bound.seconds)]
    return [show_share(middle), show_share(worst.efficiency), *times, worst.bound.regime, worst.case.label]


def _cases(found: Sequence[Measurement]) -> list[str]:
    rows = []
    for one in found:
        time = f"{show_seconds(one.time.median)} +-{100 * one.time.half_width:.1f} %" if one.time else "-"
        limit = show_seconds(one.bound.seconds) if one.bound else "-"
        share = show_share(one.efficiency) if one.efficiency is not None else "-"
        rows.append([one.case.name, one.status, time, limit, share, one.bound.regime if one.bound else "-", one.mode or "-"])
    return table(["case", "status", "T", "T_SOL", "efficiency", "regime", "clock"], rows, left=2)


def remarks(found: Sequence[Measurement]) -> list[str]:
    """Notes and reasons of skipping, each once with its count; numbers that differ from case to case are left out."""
    notes = Counter(note for one in found for note in one.notes)
    skips = Counter(general(one.reason or "no reason") for one in found if one.status == "skipped")
    ungated = Counter(f"{one.status.replace('_', ' ')}: {general(one.reason or '')}" for one in found if one.status in _UNGATED)
    lines = [f"{_cases_of(count)}: {note}" for note, count in notes.most_common()]
    lines += [f"{_cases_of(count)}: {reason}" for reason, count in ungated.most_common()]
    lines += [f"{_cases_of(count)} skipped: {reason}" for reason, count in skips.most_common()]
    left = Counter(one.reason or "no reason" for one in found if one.status == "not_run")
    return lines + [f"{_cases_of(count)} not run: {reason}" for reason, count in left.most_common()]


def _ended(found: Sequence[Measurement]) -> list[str]:
    """Each case that took its process with it, or was killed for its time, and how."""
    return [f"{one.case.name} {one.reason}" for one in found if one.status in _ENDED]


def absent_lines(sentences: Sequence[str]) -> list[str]:
    """One line for all providers that are missing for the same reason."""
    names: dict[str, list[str]] = {}
    for sentence in sentences:
        name, _, reason = sentence.partition(": ")
        names.setdefault(reason, []).append(name)
    return [f"skipped: {', '.join(sorted(group))}: {reason}" for reason, group in names.items()]


def _cases_of(count: int) -> str:
    return f"{count:4d} case" if count == 1 else f"{count:4d} cases"


def general(reason: str) -> str:
    """A reason without the case's own quantity: "T_SOL 1.9 s over the budget of 0.5 s" -> "T_SOL over the budget of 0.5 s"."""
    own = r"^(T_SOL|memory) [\d.]+ \S+ |^\w+ = .*?, (?=outside the limit )|^\d+ of \d+ (?=batches)| \d+x"
    return re.sub(own, lambda m: f"{m[1]} " if m[1] else "", reason).strip()


def _ran(found: Sequence[Measurement]) -> list[str]:
    """Per provider: packages with versions, and the functions that really ran."""
    lines = []
    groups: dict[tuple[str, str], dict[str, None]] = {}
    for one in found:
        packages = ", ".join(f"{name} {version}" for name, version in one.packages.items()) or "this project"
        groups.setdefault((one.case.provider, packages), {}).update(dict.fromkeys(one.ran))
    for (provider, packages), names in groups.items():
        if names:
            lines.append(f"{provider} ran {packages}: {', '.join(names)}")
    return lines
