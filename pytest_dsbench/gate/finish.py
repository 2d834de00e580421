"""When a run is over: the gate's word on all of it, and what of it enters the stored baseline."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..measurement import Measurement
from ..options import Options
from ..record import Record
from ..runs import Header
from ..thresholds import Thresholds
from ..verdict import Confirmation
from . import baseline as baselines
from . import sources
from .accepting import Acceptance, accept
from .baseline import Baseline
from .judge import Gate
from .judgement import Judgement, judge_run
from .nights import Tonight, tonight


class Finish(Record):
    """What became of a run."""

    judged: Judgement
    #: what was taken into the stored baseline, and the files that were written
    taken: Acceptance | None = None
    written: tuple[Path, ...] = ()
    #: what is served with these kernels, and what their changes cost it: names, each with its serving.impact.Impact
    impacts: tuple[tuple[str, Any], ...] = ()


def reference(options: Options, hardware: str) -> Baseline:
    """The baseline a run is held against. Raises Mistake."""
    return sources.find(options.compare or "", options.baselines, hardware, options.root)


def finish(
    measurements: Sequence[Measurement],
    header: Header,
    confirmations: Sequence[Confirmation],
    options: Options,
) -> Finish:
    """Judges a run that is over and saves it where that was asked for.

    Raises Mistake; then nothing was written.
    """
    found = tonight(measurements, header)
    judged = judge(found, header, confirmations, reference(options, header.hardware.name), options.limits)
    if options.save is None:
        return Finish(judged=judged)
    stored = sources.stored(options.baselines, header.hardware.name)
    # What is saved is judged by what it would change, whatever else the run was held against.
    own = judge(found, header, confirmations, stored, options.limits) if options.compare else judged
    taken, written = save(found, header, own, stored, options.baselines, options.limits, options.save)
    return Finish(judged=judged, taken=taken, written=written)


def judge(
    found: Sequence[Tonight], header: Header, confirmations: Sequence[Confirmation], against: Baseline, limits: Thresholds
) -> Judgement:
    """The gate's word on a whole run."""
    return judge_run(Gate(against, limits, header.environment), found, header.coverage, confirmations)


def save(
    found: Sequence[Tonight],
    header: Header,
    judged: Judgement,
    stored: Baseline,
    folder: Path,
    limits: Thresholds,
    reason: str,
) -> tuple[Acceptance, tuple[Path, ...]]:
    """Takes a run into the stored baseline in `folder` and writes the files that changed."""
    verdicts = {one.case.identity: one for one in judged.verdicts}
    taken = accept(stored, found, verdicts, header.environment, limits, reason or None)
    return taken, tuple(baselines.write(folder, taken.baseline, taken.operators))
