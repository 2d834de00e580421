"""A pytest plugin for `-p pytest_dsbench.listing --collect-only`: writes down which cases a session selects."""

import os
from pathlib import Path
from typing import Any, NoReturn

import pytest

from .duet.cases import FILE, Listing
from .hardware.device import device, has_gpu
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
    return planned_case(item) if "dsbench" in params else _by_hand(item)


def _by_hand(item: pytest.Item) -> Planned:
    # Only now: it brings torch with it, which collecting does without.
    from .fixture import Dsbench

    return Dsbench(item, None, _nothing, _nothing, None)._planned_by_hand("")


def _nothing() -> NoReturn:
    raise AssertionError("a session that only lists measures nothing")


def _lock() -> str | None:
    """The key under which a plain run locks the GPU that it finds."""
    if not has_gpu():
        return None
    found = device()
    return found.key if found.kind == "cuda" else None
