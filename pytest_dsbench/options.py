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
    #: dimension sets to draw for every operator, and the seed they are drawn with; None for a new one
    fuzz: tuple[int, int | None] = (0, None)
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


def parse_fuzz(text: str | None) -> tuple[int, int | None]:
    """The value of --dsbench-fuzz: "50" or, with the seed of an earlier run, "50,1234". Raises Mistake naming the option."""
    count, comma, seed = (text or "0").partition(",")
    if not count.strip().isdigit() or (comma and not seed.strip().isdigit()):
        raise Mistake(f"--dsbench-fuzz={text}: expected a number of draws, or that and a seed, such as 50 or 50,1234")
    return int(count), int(seed) if comma else None


def parse_plan(text: str | None) -> str | None:
    """The value of --dsbench-plan. A folder or a Python file was meant as a place to collect from, not as the plan's file."""
    if text and (Path(text).is_dir() or text.endswith(".py") or "::" in text):
        raise Mistake(
            f"--dsbench-plan={text} would write the plan to {text}; write --dsbench-plan=FILE, or put --dsbench-plan last"
        )
    return text
