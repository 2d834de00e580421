"""pytest-xdist's workers: one per device while timing, each on a device of its own; the controller speaks for them."""

from __future__ import annotations

import os
from itertools import count
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any, NoReturn

import pytest

from .units import show_count

#: In a worker's input: the folder for notes.
NOTES = "dsbench_notes"
_SLOT = "dsbench_slot"
_REFUSAL = "dsbench_refusal"


class Slots:
    """In the controller: numbers the workers, so that one that replaces a crashed one takes its place; hears refusals."""

    def __init__(self) -> None:
        self._taken: dict[str, int] = {}
        #: where workers leave word of why they end; None before there are any
        self.notes: Path | None = None

    def pytest_unconfigure(self) -> None:
        """Everything was read."""
        if self.notes is not None:
            rmtree(self.notes, ignore_errors=True)

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tells a new worker its number, and the folder for notes."""
        if self.notes is None:
            self.notes = Path(mkdtemp(prefix="dsbench-notes-"))
        node.workerinput[NOTES] = str(self.notes)
        slot = next(number for number in count() if number not in self._taken.values())
        self._taken[node.gateway.id] = slot
        node.workerinput[_SLOT] = slot

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Frees the number; a worker that refused to run ends the whole run, as it would have without workers."""
        self._taken.pop(node.gateway.id, None)
        sentence = getattr(node, "workeroutput", {}).get(_REFUSAL)
        if sentence:
            raise pytest.UsageError(sentence)


def share_out(config: pytest.Config) -> int:
    """Gives a worker a GPU of its own, before torch looks for one. Returns how many devices the workers share."""
    from .hardware.device import visible_gpus

    gpus = visible_gpus()
    given = getattr(config, "workerinput", None)
    if given is not None and given["workercount"] > 1 and len(gpus) > 1:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpus[given.get(_SLOT, 0) % len(gpus)]
    return max(len(gpus), 1)


def crowded(config: pytest.Config, devices: int) -> str | None:
    """Why these workers must not time, if there are more of them than devices."""
    workers: int = getattr(config, "workerinput", {}).get("workercount", 1)
    if workers <= devices:
        return None
    return (
        f"{workers} workers would time on {show_count(devices, 'device')}, they would ruin each other's numbers;"
        f" use -n {devices}, or --benchmark-disable to only check"
    )


def refuse(config: pytest.Config, sentence: str) -> NoReturn:
    """Ends the run with one sentence and pytest's exit code for a usage error."""
    if hasattr(config, "workeroutput"):
        config.workeroutput[_REFUSAL] = sentence
    raise pytest.UsageError(sentence)
