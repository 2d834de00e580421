"""A pytest plugin for `-p pytest_dsbench.listing --collect-only`: writes down which cases a session selects."""

import os
from pathlib import Path
from typing import Any

import pytest

from .duet.cases import FILE, Listing
from .hardware.device import device, has_gpu
from .jobs import Job
from .measurement import Planned
from .record import to_line
from .selection import planned_case


def pytest_collection_finish(session: pytest.Session) -> None:
    """Writes the file once the selection is made."""
    path = os.environ.get(FILE)
    if path:
        Path(path).write_bytes(to_line(listing(session)))


def listing(session: pytest.Session) -> Listing:
    """The cases that a session selected."""
    benches = [item for item in session.items if "dsbench" in getattr(item, "fixturenames", ())]
    cases = [case for item in benches if (case := _case(item)) is not None]
    return Listing(
        root=str(session.config.rootpath),
        lock=_lock() if cases and session.config.getoption("dsbench_hw") != "cpu" else None,
        cases=tuple(cases),
        left_out=len(benches) - len(cases),
    )


def _case(item: pytest.Item) -> Planned | None:
    params: dict[str, Any] = getattr(getattr(item, "callspec", None), "params", {})
    return planned_case(item) if isinstance(params.get("dsbench"), (Job, type(None))) else None


def _lock() -> str | None:
    """The key under which a plain run locks the GPU that it finds."""
    if not has_gpu():
        return None
    found = device()
    return found.key if found.kind == "cuda" else None
