"""Planned cases without a result get a record that says why; and a run file whose process is gone is brought to its end."""

from collections.abc import Container, Mapping
from pathlib import Path

from ..measurement import Measurement, Planned, Status
from ..record import to_line
from ..runs import End, kept_plan, read, without_plan


def not_run(planned: Mapping[str, Planned], recorded: Container[str], reason: str) -> dict[str, Measurement]:
    """A record, by node id, for each planned case that has none."""
    return {
        node: Measurement(case=case, status="not_run", reason=reason) for node, case in planned.items() if node not in recorded
    }


def close(path: Path, done: set[str], faults: Mapping[str, tuple[Status, str]], node: str | None, last: str) -> str:
    """Completes the run file of a process that is gone: `node` is the case it was in, if any, and `last` the one before.

    Returns one sentence about it; nothing where the file is complete or was never begun.
    """
    planned = kept_plan(path)
    if planned is None or (run := read(path)).end is not None:
        return ""
    known = dict(faults)
    if node is not None and node not in known:
        known[node] = ("crashed", "the process ended inside this case")
    lost = {
        one: Measurement(case=planned[one], status=status, reason=reason)
        for one, (status, reason) in known.items()
        if one in planned and one not in done
    }
    reason = _why(planned, node, last, known)
    left = not_run(planned, done | lost.keys(), reason)
    produced = len(run.measurements) + len(lost) + len(left)
    end = End(planned=len(planned), produced=produced, not_run=tuple(left))
    _append(path, [*lost.values(), *left.values(), end])
    without_plan(path)
    cases = f"{len(left)} planned case{'s were' if len(left) != 1 else ' was'} not run"
    return f"dsbench: {reason}; {cases}; results: {path}"


def _why(planned: Mapping[str, Planned], node: str | None, last: str, faults: Mapping[str, tuple[Status, str]]) -> str:
    """Who ended the process."""
    if node is None:
        after = f", after {_name(planned, last)}" if last else ""
        return f"the process ended outside of any case{after}"
    status, reason = faults[node]
    return f"{_name(planned, node)} {reason}" if status == "timed_out" else f"{_name(planned, node)} ended the process"


def _name(planned: Mapping[str, Planned], node: str) -> str:
    return planned[node].name if node in planned else node


def _append(path: Path, lines: list[Measurement | End]) -> None:
    """Adds lines, in the place of one that was cut off."""
    with path.open("r+b") as file:
        whole = file.read()
        file.seek(whole.rfind(b"\n") + 1)
        file.truncate()
        file.write(b"".join(map(to_line, lines)))
