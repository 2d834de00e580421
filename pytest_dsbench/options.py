"""Options: what the command line and the ini file ask for, as one frozen value that needs no pytest to be made."""

from pathlib import Path
from typing import Literal

from .mistake import Mistake
from .record import Record
from .units import budget


class Options(Record):
    """Everything a run can be told."""

    #: sheet name or path of a .toml, "cpu", or None to detect
    hw: str | None = None
    #: None: measure; "": print the plan; else also write it to this file
    plan: str | None = None
    #: seconds of T_SOL and bytes a case may need, None for no limit; None as a whole for the device's default
    budget: tuple[float | None, float | None] | None = None
    #: providers by name; empty for all that are not opt-in
    providers: tuple[str, ...] = ()
    clock: Literal["auto", "events", "graph"] = "auto"
    cold: bool = True
    #: false where cases are only checked
    timed: bool = True
    #: shape files and folders
    shapes: tuple[Path, ...] = ()
    #: folder of run files
    runs: Path = Path("runs")
    root: Path = Path()
    verbose: bool = False


def parse_budget(text: str | None) -> tuple[float | None, float | None] | None:
    """The value of --dsbench-budget. Raises Mistake naming the option."""
    try:
        return None if text is None else budget(text)
    except Mistake as error:
        raise Mistake(f"--dsbench-budget: {error}") from None


def parse_plan(text: str | None) -> str | None:
    """The value of --dsbench-plan. A folder or a Python file was meant as a place to collect from, not as the plan's file."""
    if text and (Path(text).is_dir() or text.endswith(".py") or "::" in text):
        raise Mistake(
            f"--dsbench-plan={text} would write the plan to {text}; write --dsbench-plan=FILE, or put --dsbench-plan last"
        )
    return text
