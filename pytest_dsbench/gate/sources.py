"""Where a baseline comes from: the stored one, a run or baseline file, a folder of baselines, or a git revision."""

import os
from pathlib import Path

from .. import git, runs
from ..hardware import sheets
from ..mistake import Mistake
from ..runs import Header
from . import baseline
from .baseline import Baseline
from .nights import of_run

_OPTION = "--dsbench-compare"


def find(what: str, folder: Path, hardware: str, root: Path, option: str = _OPTION) -> Baseline:
    """The baseline to hold a run on `hardware` against. `what` is empty for the stored one in `folder`; `option` names who asks.

    Raises Mistake for what is neither a file nor a revision, and for a baseline of other hardware.
    """
    if not what:
        return stored(folder, hardware)
    path = Path(what)
    path = path if path.exists() else root / path
    if path.is_dir():
        return of_folder(path, hardware, option)
    found = of_file(path, folder) if path.is_file() else of_revision(what, folder, hardware, root, option)
    if found.hardware is not None and found.hardware != hardware:
        raise Mistake(f"{option}={what}: a baseline of {found.hardware}; this run is on {hardware}, and times do not carry over")
    return found


def stored(folder: Path, hardware: str) -> Baseline:
    """The baseline of `hardware` in the folder of baselines."""
    return baseline.folder(folder, hardware)


def of_folder(path: Path, hardware: str, option: str = _OPTION) -> Baseline:
    """The baseline of `hardware` in another folder of baselines. Raises Mistake where it has none."""
    if (path / hardware).is_dir():
        return baseline.folder(path, hardware)
    if any(path.glob("*.jsonl")) and path.name == hardware:
        return baseline.folder(path.parent, hardware)
    others = sorted(one.name for one in path.iterdir() if any(one.glob("*.jsonl"))) if path.is_dir() else []
    bare = f"; to compare with the stored baseline, a bare {option} stands last" if option == _OPTION else ""
    have = f"it has {', '.join(others)}" if others else f"it has none at all{bare}"
    raise Mistake(f"{option}={path}: no baseline of {hardware} in this folder; {have}")


def of_file(path: Path, folder: Path) -> Baseline:
    """The baseline in one file: a run, or the entries of one operator. `folder` is that of the stored baselines.

    Raises Mistake for a file that is neither, and for one in which nothing can be read.
    """
    text = baseline.contents(path)
    if not baseline.is_baseline(text):
        run = runs.read(path)
        refuse_imported(path, run.header)
        if run.header is None and not run.measurements:
            raise Mistake(f"{path}: neither a run file nor a baseline; {run.complaints[0] if run.complaints else 'it is empty'}")
        return of_run(run)
    # A baseline file lies in the folder of its hardware; of one that was copied elsewhere only its environments tell.
    place = path.resolve().parent
    known = place.name in sheets() or place.name == "cpu" or place.parent == folder.resolve()
    found = baseline.texts(str(path), place.name if known else None, {str(path): text})
    if found.complaints and not found.entries:
        raise Mistake(found.complaints[0])
    return found


def refuse_imported(path: Path, header: Header | None) -> None:
    """Raises Mistake for a run that was measured elsewhere: the gate would take the other machine for a change of the code."""
    if header is not None and header.imported is not None:
        raise Mistake(
            f"{path}: {header.imported}; it has neither the environment nor the anchors of a run, so that no change can be told"
            " from another machine: `dsbench report` shows it beside a run"
        )


def of_revision(name: str, folder: Path, hardware: str, root: Path, option: str = _OPTION) -> Baseline:
    """The stored baseline as it was in a git revision. Raises Mistake where there is no such file or revision."""
    option = f"{option}={name}"
    try:
        commit = git.revision(root, name, option)
    except Mistake as error:
        raise Mistake(f"{error}; no file of this name either") from None
    place = f"{Path(os.path.relpath(folder, root)).as_posix()}/{hardware}"
    found = {f"{name}:{path}": text for path, text in git.files(root, commit, place, option).items()}
    return baseline.texts(f"{place} of {name}", hardware, found)
