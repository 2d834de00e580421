"""What a worker does: answers orders with the harness that a plain run uses, on a clock that waits for the conductor."""

import platform
from pathlib import Path
from typing import get_args

import torch

from .. import assemble
from ..blame import OUT_OF_MEMORY
from ..clock import Mode
from ..hardware.sheet import Hardware
from ..measurement import Measurement, Planned
from ..mistake import Mistake
from ..options import Options
from ..provider import Provider
from ..rig import Rig
from ..runner import measure
from ..trial import Subject
from ..units import Unit
from .link import Link
from .load import Loader
from .orders import Answer, Finished, Hello, Measure, Prepare, Quit, Refused, Setup
from .slices import Slices

#: A duet holds a CPU against no roof: measuring it takes seconds, and comes out too low beside a second process.
_BOUNDLESS = Hardware(
    name="cpu",
    title="CPU",
    kind="cpu",
    vendor="cpu",
    peak=dict.fromkeys(get_args(Unit), float("inf")),
    bandwidth=float("inf"),
    source="no roof",
)


class Server:
    """One worker: a rig for slices, and one for whole measurements when the first is asked for."""

    def __init__(self, link: Link, setup: Setup, root: Path) -> None:
        self._link = link
        # What was measured once is in nobody's way: a duet has no budget.
        self._options = Options(hw=setup.hw, clock=setup.clock, cold=setup.cold, budget=(None, None), root=root)
        slices = Slices(link)
        sheet = _BOUNDLESS if setup.hw in (None, "cpu") else None
        self._rig = assemble.rig(self._options, collect=slices, sheet=sheet, lock=False)
        assert self._rig.clock is not None
        self._rig.clock = slices.of(self._rig.clock)
        self._plain: Rig | None = None
        self._loader = Loader(root, self._rig.device)

    def hello(self) -> Hello:
        """Who this is."""
        return Hello(
            python=platform.python_version(),
            torch=str(torch.__version__),
            device="cpu" if self._rig.device == "cpu" else "cuda",
            environment=self._rig.environment.key(),
            hardware=self._rig.hardware.name,
        )

    def serve(self) -> None:
        """Answers until it is told to end."""
        while True:
            try:
                match self._link.receive():
                    case Prepare(case=case, mode=mode):
                        self._link.send(self._prepared(case, mode))
                    case Measure(case=case):
                        self._link.send(self._measured(case))
                    case Quit():
                        return
                    case other:
                        raise Mistake(f"no case is prepared: there is nothing to do for {type(other).__name__}")
            except Mistake as error:
                self._link.send(Refused(reason=str(error)))
            self._tidy()

    def _prepared(self, case: Planned, mode: Mode | None) -> Answer:
        found = self._run(self._rig, case, mode)
        if found.status == "failed" and OUT_OF_MEMORY in (found.reason or ""):
            raise Mistake(f"{case.provider} {OUT_OF_MEMORY}: the two sides of a duet share that of the device")
        return Finished(status=found.status, reason=found.reason, notes=found.notes)

    def _measured(self, case: Planned) -> Measurement:
        if self._plain is None:
            self._plain = assemble.rig(self._options, lock=False)
        return self._run(self._plain, case, None)

    def _run(self, rig: Rig, case: Planned, mode: Mode | None) -> Measurement:
        def measuring(subject: Subject, provider: Provider) -> Measurement:
            return measure(rig, case, subject, provider, mode)[0]

        return self._loader.measure(case, measuring)

    def _tidy(self) -> None:
        """Gives memory back, since another process on the same device has the same case before it."""
        for rig in (self._rig, self._plain):
            if rig is not None:
                rig.release()
