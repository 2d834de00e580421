"""What the gate found, as text, as markdown and as JSON; and the sentence a regressed test fails with."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from math import expm1
from pathlib import Path
from typing import TYPE_CHECKING

from ..gate.finish import Finish
from ..gate.judgement import Judgement
from ..units import show_count, show_delta, show_seconds, show_share
from ..verdict import UNFIT, Confirmation, Outcome, Verdict
from .serving.night import gate_lines
from .table import markdown, table

if TYPE_CHECKING:
    from ..serving.change.impact import Impact

#: In this order, and only these, cases have a line of their own; the others are counted.
SHOWN: tuple[Outcome, ...] = (
    "regressed",
    "invalid",
    "crashed",
    "timed_out",
    "missing",
    "suspect",
    "improved",
    "environment",
    "throttled",
    "noisy_host",
    "unstable",
    "new",
)
#: More lines than this of one outcome say nothing more.
_MOST = 25

#: What is told of a verdict.
HEAD = (
    "case",
    "verdict",
    "T then",
    "T now",
    "change",
    "95 % interval",
    "allowed",
    "MDE",
    "T_SOL",
    "eff. then",
    "eff. now",
    "why",
)
#: What is shown only of all cases.
_QUIET: tuple[Outcome, ...] = ("learning", "same", "not_run")


def failure(verdict: Verdict, source: str) -> str:
    """The sentence of a regressed test: where, what, how much, how sure, and what else changed."""
    case = verdict.case
    parts = [
        f"{case.where}: {case.name} {verdict.title} against {source}: efficiency {_share(verdict.efficiency_then)}"
        f" -> {_share(verdict.efficiency_now)}, T {_seconds(verdict.then)} -> {_seconds(verdict.now)}",
        f"change {_change(verdict.change)}, 95 % interval {_interval(verdict)}, allowed {_change(verdict.allowed)}",
        f"T_SOL {_seconds(verdict.t_sol)}",
    ]
    if verdict.why:
        parts.append(verdict.why)
    parts.append(f"also changed: {', '.join(verdict.changed) or 'nothing that is known'}")
    return "; ".join(parts)


#: What is served, and what changes of kernels cost it.
Impacts = Sequence[tuple[str, "Impact"]]


def text_lines(judged: Judgement, everything: bool = False, impacts: Impacts = ()) -> list[str]:
    """The verdicts as plain text: what stands out, case by case, or every case; how many of each; and what it costs."""
    rows = verdict_rows(judged.verdicts, everything)
    lines = [f"held against {judged.source}", ""]
    if rows:
        lines += [*table(HEAD, rows, left=2, last_left=True), ""]
    served = [line for name, one in impacts for line in gate_lines(name, one)]
    return lines + _remarks(judged, everything, hint=not impacts) + ([""] if served else []) + served


def markdown_lines(judged: Judgement, everything: bool = False, impacts: Impacts = ()) -> list[str]:
    """The same as markdown."""
    rows = verdict_rows(judged.verdicts, everything)
    lines = [f"### Against {judged.source}", ""]
    if rows:
        lines += [*markdown(HEAD, rows, left=2, last_left=True), ""]
    lines += [f"- {line}" for line in _remarks(judged, everything, hint=not impacts)]
    served = [line for name, one in impacts for line in gate_lines(name, one)]
    # What is indented in text is a list of its own below.
    return lines + ([""] if served else []) + [re.sub(r"^( *)", r"\1- ", line) for line in served]


def verdict_rows(found: Iterable[Verdict], everything: bool = False) -> list[list[str]]:
    """The cells below HEAD: of what stands out the largest changes of each kind, or of every case."""
    found = list(found)
    chosen: list[Verdict] = []
    for outcome in (*SHOWN, *_QUIET) if everything else SHOWN:
        group = [one for one in found if one.outcome == outcome]
        group.sort(key=lambda one: (-abs(one.change or 0.0), _natural(one.case.name)))
        chosen += group if everything else group[:_MOST]
    return [_row(one) for one in chosen]


def _natural(name: str) -> list[tuple[int, str]]:
    """A name in the order people expect: tokens8 before tokens64."""
    return [(int(digits or 0), text) for text, digits in re.findall(r"(\D*)(\d*)", name)]


def _row(one: Verdict) -> list[str]:
    return [
        one.case.name,
        one.title,
        _seconds(one.then),
        _seconds(one.now),
        _change(one.change),
        _interval(one),
        _change(one.allowed),
        _change(one.mde),
        _seconds(one.t_sol),
        _share(one.efficiency_then),
        _share(one.efficiency_now),
        _why(one),
    ]


def _why(one: Verdict) -> str:
    changed = f"changed: {', '.join(one.changed)}" if one.changed and one.outcome in ("regressed", "improved", "suspect") else ""
    return "; ".join(part for part in (one.why or "", changed) if part) or "-"


def _remarks(judged: Judgement, everything: bool, hint: bool) -> list[str]:
    """Alarms of the whole run, what it can detect, and the count of every verdict; `hint`: nobody asked what it costs."""
    lines = [f"one alarm: {one}" if one.endswith("longer") else one for one in judged.joint]
    if judged.joint:
        lines.append(f"also changed: {', '.join(judged.changed) or 'nothing that is known'}")
    lines += judged.complaints[:_MOST]
    if len(judged.complaints) > _MOST:
        lines.append(f"{len(judged.complaints) - _MOST} more lines of the baseline could not be read")
    for outcome in SHOWN:
        hidden = judged.count(outcome) - _MOST
        if hidden > 0 and not everything:
            lines.append(f"{hidden} more cases are {outcome.replace('_', ' ')}")
    if effects := sorted(expm1(one.mde) for one in judged.verdicts if one.mde is not None):
        middle, worst = effects[len(effects) // 2], effects[-1]
        lines.append(f"minimum detectable effect: {show_share(middle)} in the middle case, {show_share(worst)} in the worst")
    refuted = [one for one in judged.verdicts if one.outcome == "same" and one.confirmed_by]
    lines += [f"{one.case.name} was suspected and is the same: {one.why}" for one in refuted[:_MOST]]
    if learning := [one for one in judged.verdicts if one.outcome == "learning"]:
        least = min(learning, key=lambda one: one.nights)
        lines.append(f"{show_count(len(learning), 'case')} still learning, with {least.nights} of {least.needed} nights or more")
    if missing := judged.count("missing"):
        lines.append(
            f"{show_count(missing, 'case')} missing: if that was meant, dsbench baseline prune RUN removes what is stored of them"
        )
    if hint and judged.count("regressed", "improved"):
        lines.append("what that is in tokens/s of what is served: dsbench impact RUN --against BASELINE --model NAME")
    counts = Counter(one.outcome for one in judged.verdicts)
    lines.append(
        f"{show_count(len(judged.verdicts), 'case')}: {', '.join(f'{n} {name}' for name, n in _sorted(counts)) or 'none'}"
    )
    if judged.code() == 3:
        unfit = judged.count(*UNFIT)
        lines.append(f"{unfit} of them could not be judged: the environment is not fit to judge")
    return lines


def _sorted(counts: Counter[Outcome]) -> Iterable[tuple[str, int]]:
    order: Sequence[str] = [*SHOWN, *_QUIET]
    return sorted(
        ((name.replace("_", " "), n) for name, n in counts.items()), key=lambda pair: order.index(pair[0].replace(" ", "_"))
    )


def _seconds(value: float | None) -> str:
    return "-" if value is None else show_seconds(value)


def _share(value: float | None) -> str:
    return "-" if value is None else show_share(value)


def _change(value: float | None) -> str:
    return "-" if value is None else show_delta(value)


def _interval(one: Verdict) -> str:
    return "-" if one.low is None or one.high is None else f"{_change(one.low)} ... {_change(one.high)}"


def finish_lines(finish: Finish | None, shown: Callable[[Path], str], everything: bool = False) -> list[str]:
    """What the gate says of a run, and what of it was saved; `shown` writes a path."""
    if finish is None:
        return []
    return ["", *text_lines(finish.judged, everything, finish.impacts), *saved_lines(finish, shown)]


def saved_lines(finish: Finish, shown: Callable[[Path], str]) -> list[str]:
    """What was taken into the stored baseline, and what was not."""
    taken = finish.taken
    if taken is None:
        return []
    lines = [*taken.moved[:_MOST], *taken.left[:_MOST]]
    hidden = len(taken.moved) + len(taken.left) - len(lines)
    if hidden > 0:
        lines.append(f"and {hidden} more cases whose bar moved, or that were not accepted")
    places = ", ".join(shown(path) for path in finish.written[:3]) or "no file"
    more = f" and {len(finish.written) - 3} more files" if len(finish.written) > 3 else ""
    untimed = f", {taken.untimed} had no time to take" if taken.untimed else ""
    saved = f"saved: {taken.new} new cases, {taken.accepted} accepted, {len(taken.left)} not{untimed}; wrote {places}{more}"
    return [*lines, saved]


def self_check_lines(confirmations: Iterable[Confirmation], share: float) -> list[str]:
    """How often a duet of a provider with itself gave an alarm; `share` of the cases was to be drawn."""
    found = [one for one in confirmations if one.how == "self"]
    fought = [one for one in found if one.change is not None]
    if not found:
        return [f"self-check: none of the cases was drawn at {show_share(share)}"] if share else []
    alarms = [one for one in fought if one.outcome in ("regressed", "improved")]
    worst = max((abs(one.change or 0.0) for one in fought), default=0.0)
    plural = "" if len(alarms) == 1 else "s"
    rate = f"{len(alarms)} alarm{plural} ({show_share(len(alarms) / len(fought))})" if fought else "none could be fought"
    selves = f"{show_count(len(fought), 'case')} duelled against {'itself' if len(fought) == 1 else 'themselves'}"
    lines = [f"self-check: {selves}: {rate}; largest change {show_share(expm1(worst))}"]
    lines += [f"self-check, false alarm: {one.case.name}: {_change(one.change)}" for one in alarms]
    return lines + [f"self-check: {one.case.name}: {one.reason}" for one in found if one.change is None]
