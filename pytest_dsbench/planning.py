"""--dsbench-plan: the bounds of the selected cases, printed instead of timed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from .broken import BrokenShapes
from .jobs import Idle, Job
from .mistake import Mistake
from .options import Options
from .plan import plan
from .plan import sheet as plan_sheet
from .report.bounds import plan_lines
from .shapes import Broken


def show_plan(session: pytest.Session, options: Options) -> None:
    """Prints the plan of the selected items and writes its file; broken shapes fail the run. Raises Mistake."""
    found = list(_planned(session.items))
    # One line per shape, however many providers would run it.
    cases = {job.case.op: job.case for job in found if isinstance(job, Job)}
    broken = [str(one) for one in found if isinstance(one, Broken)]
    broken += [item.sentence for item in session.items if isinstance(item, BrokenShapes)]
    hardware = plan_sheet(options.hw)
    prospects = plan(cases.values(), hardware)
    reporter: Any = session.config.pluginmanager.get_plugin("terminalreporter")
    write = reporter.write_line if reporter else print
    idle = [job.reason for job in found if isinstance(job, Idle)]
    for line in ["", *plan_lines(prospects, hardware), *idle, *_by_hand(session.items), *broken]:
        write(line)
    if options.plan:
        _write(Path(options.plan), b"".join(msgspec.json.encode(one.to_json()) + b"\n" for one in prospects))
        write(f"{len(prospects)} cases written to {options.plan}")
    session.testsfailed += len(broken)


def _planned(items: list[pytest.Item]) -> Iterator[Any]:
    for item in items:
        callspec = getattr(item, "callspec", None)
        if callspec is not None and "dsbench" in callspec.params:
            yield callspec.params["dsbench"]


def _by_hand(items: list[pytest.Item]) -> list[str]:
    count = sum("dsbench" in getattr(item, "fixturenames", ()) for item in items) - len(list(_planned(items)))
    if count == 0:
        return []
    return [f"{count} benches by hand are not in the plan: they state their work when they run"]


def _write(path: Path, text: bytes) -> None:
    try:
        path.write_bytes(text)
    except OSError as error:
        raise Mistake(f"--dsbench-plan={path}: cannot write the plan: {error.strerror}") from None
