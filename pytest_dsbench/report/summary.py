"""The summary of a run as markdown, for the page of a nightly job."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ..environment import Environment
from ..gate.finish import Finish
from ..measurement import Measurement
from ..runs import Header
from ..verdict import UNFIT, Confirmation
from .bounds import headline
from .gate import markdown_lines, saved_lines, self_check_lines
from .table import markdown
from .terminal import operator_table, remarks, score_lines


def summary_lines(
    found: Sequence[Measurement],
    header: Header,
    finish: Finish | None,
    confirmations: Sequence[Confirmation],
    self_check: float,
) -> list[str]:
    """What regressed and improved, the score, every operator, the environment."""
    failed = [one for one in found if not one.ok and one.status != "not_run"]
    left = sum(one.status == "not_run" for one in found)
    lines = [f"## dsbench: {_headword(failed, left, finish)}", "", headline(header.hardware), ""]
    if failed:
        lines += [*(f"- **{one.status}** {one.case.where}: {one.case.name}: {one.reason}" for one in failed), ""]
    if finish is not None:
        lines += [*markdown_lines(finish.judged, impacts=finish.impacts), ""]
        lines += [*(f"- {line}" for line in saved_lines(finish, Path.as_posix)), ""]
    if checked := self_check_lines(confirmations, self_check):
        lines += [*(f"- {line}" for line in checked), ""]
    if scored := score_lines(found):
        lines += ["### Score", "", *(f"- {line}" for line in scored), ""]
    head, rows = operator_table(found)
    lines += ["### Operators", "", *markdown(head, rows, left=2, last_left=True), ""]
    lines += [*(f"- {line.strip()}" for line in [*remarks(found), *header.notes]), ""]
    return lines + _environment(header, _changed(finish))


def _headword(failed: Sequence[Measurement], left: int, finish: Finish | None) -> str:
    judged = finish.judged if finish else None
    counts = {
        "failed": len(failed),
        "not run": left,
        "regressed": judged.count("regressed") if judged else 0,
        "missing": judged.count("missing") if judged else 0,
        "improved": judged.count("improved") if judged else 0,
        "not fit to be judged": judged.count(*UNFIT) if judged else 0,
    }
    words = [f"{count} {word}" for word, count in counts.items() if count]
    words += ["one alarm for many cases"] if judged and judged.joint_alarm else []
    return ", ".join(words) or ("nothing regressed" if judged else "nothing failed")


def _changed(finish: Finish | None) -> list[str]:
    """What is not as in the baseline for at least half of the cases it has."""
    held = [one for one in finish.judged.verdicts if one.then is not None and one.now is not None] if finish else []
    counts = Counter(what for one in held for what in one.changed)
    counts.update(one.why for one in held if one.outcome == "environment" and one.why)
    return [what for what, count in counts.most_common() if 2 * count >= len(held)]


def _environment(header: Header, changed: Sequence[str]) -> list[str]:
    lines = ["### Environment", "", *(f"- not as in the baseline: {what}" for what in changed)]
    return [*lines, *([""] if changed else []), *markdown(["", ""], environment_rows(header.environment), left=2)]


def environment_rows(environment: Environment) -> list[list[str]]:
    """What is known of an environment, its key first."""
    facts = {name: getattr(environment, name) for name in environment.__struct_fields__}
    known = [[name, str(value)] for name, value in facts.items() if value not in (None, (), "")]
    return [["key", environment.key()], *known]
