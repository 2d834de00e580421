"""Options: what the command line and the ini file ask for, as one frozen value that needs no pytest to be made."""

from pathlib import Path
from typing import Literal

from .mistake import Mistake
from .record import Record
from .thresholds import Thresholds
from .units import budget, duration

#: Seconds that a case may take: compiling and tuning are part of it.
DEADLINE = 600.0


class Options(Record):
    """Everything a run can be told."""

    #: sheet name or path of a .toml, "cpu", or None to detect
    hw: str | None = None
    #: None: measure; "": print the plan; else also write it to this file
    plan: str | None = None
    #: seconds of T_SOL and bytes a case may need, None for no limit; None as a whole for the device's default
    budget: tuple[float | None, float | None] | None = None
    #: seconds after which a case is killed; None for never
    deadline: float | None = DEADLINE
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
    #: folder of run files, and of baselines
    runs: Path = Path("runs")
    baselines: Path = Path("baselines")
    #: what to hold the run against: a file, a folder or a git revision; "" for the stored baseline, None for nothing
    compare: str | None = None
    #: why the stored baseline may be lowered; "" saves without lowering it, None saves nothing
    save: str | None = None
    #: an interpreter or a git revision with the old providers
    old: str | None = None
    #: what is served with these kernels, MODEL[,key=value...] each: what the gate finds is told in tokens/s of it
    serving: tuple[str, ...] = ()
    #: share of the cases that are duelled against themselves
    self_check: float = 0.0
    #: where the summary goes, as markdown
    summary: Path | None = None
    #: folder where the report goes
    report: Path | None = None
    limits: Thresholds = Thresholds()
    root: Path = Path()
    verbose: bool = False

    @property
    def gated(self) -> bool:
        """Whether the run is held against a baseline."""
        return self.timed and (self.compare is not None or self.save is not None)

    def check(self) -> None:
        """Raises Mistake where options contradict each other."""
        asked = {"--dsbench-compare": self.compare is not None, "--dsbench-save": self.save is not None}
        asked["--dsbench-self-check"] = self.self_check > 0
        for option, given in asked.items():
            if given and not self.timed:
                raise Mistake(f"{option} needs times, and --benchmark-disable takes none; leave one of them out")
            if given and self.plan is not None:
                raise Mistake(f"{option} needs times, and --dsbench-plan takes none; leave one of them out")
        if self.summary is not None:
            self._check_summary(self.summary)
        if self.report is not None:
            self._check_report(self.report)
        if self.old is not None and not self.gated:
            raise Mistake("--dsbench-old confirms what --dsbench-compare suspects; give that too")

    def _check_summary(self, path: Path) -> None:
        """Now, not after an hour of measuring."""
        if self.plan is not None:
            raise Mistake("--dsbench-summary tells of a run, and --dsbench-plan runs nothing; leave one of them out")
        if path.is_dir():
            raise Mistake(f"--dsbench-summary={path}: a folder; expected the name of a file")
        if not path.parent.is_dir():
            raise Mistake(f"--dsbench-summary={path}: there is no folder {path.parent}")

    def _check_report(self, folder: Path) -> None:
        if self.plan is not None:
            raise Mistake("--dsbench-report tells of a run, and --dsbench-plan runs nothing; leave one of them out")
        if folder.exists() and not folder.is_dir():
            raise Mistake(f"--dsbench-report={folder}: a file; expected a folder, which is made where there is none")
        if any(folder.glob("*.py")):
            raise Mistake(f"--dsbench-report={folder} would write the report among Python files; write --dsbench-report=DIR")

    @property
    def lowering(self) -> bool:
        """Whether what lowers the bar is accepted, with its reason."""
        return bool(self.save)


def parse_budget(text: str | None) -> tuple[float | None, float | None] | None:
    """The value of --dsbench-budget. Raises Mistake naming the option."""
    try:
        return None if text is None else budget(text)
    except Mistake as error:
        raise Mistake(f"--dsbench-budget: {error}") from None


def parse_deadline(text: str | None) -> float | None:
    """The value of --dsbench-deadline. Raises Mistake naming the option."""
    try:
        return DEADLINE if text is None else duration(text)
    except Mistake as error:
        raise Mistake(f"--dsbench-deadline: {error}") from None


def parse_fuzz(text: str | None) -> tuple[int, int | None]:
    """The value of --dsbench-fuzz: "50" or, with the seed of an earlier run, "50,1234". Raises Mistake naming the option."""
    count, comma, seed = (text or "0").partition(",")
    if not count.strip().isdigit() or (comma and not seed.strip().isdigit()):
        raise Mistake(f"--dsbench-fuzz={text}: expected a number of draws, or that and a seed, such as 50 or 50,1234")
    return int(count), int(seed) if comma else None


def parse_plan(text: str | None) -> str | None:
    """The value of --dsbench-plan. A folder or a Python file was meant as a place to collect from, not as the plan's file."""
    if text and (Path(text).is_dir() or _collectable(text)):
        raise Mistake(
            f"--dsbench-plan={text} would write the plan to {text}; write --dsbench-plan=FILE, or put --dsbench-plan last"
        )
    return text


def parse_report(text: str | None) -> str | None:
    """The value of --dsbench-report: a folder. Raises Mistake where nothing was named, as where a variable is not set."""
    if text is not None and not text.strip():
        raise Mistake("--dsbench-report= names no folder; expected one, such as --dsbench-report=report")
    return text


def parse_save(text: str | None) -> str | None:
    """The value of --dsbench-save: a reason. A folder or a Python file was meant as a place to collect from."""
    if text and (Path(text).is_dir() or _collectable(text)):
        raise Mistake(f"--dsbench-save={text} would be the reason; write --dsbench-save=REASON, or put --dsbench-save last")
    return None if text is None else text.strip()


def parse_compare(text: str | None) -> str | None:
    """The value of --dsbench-compare: a file, a folder or a git revision. A Python file was meant as a place to collect from."""
    if text and _collectable(text):
        raise Mistake(
            f"--dsbench-compare={text}: expected a run, a baseline or a git revision; or put a bare --dsbench-compare last"
        )
    return text


def parse_share(text: str | None, option: str) -> float:
    """A share such as "5%" or "0.05". Raises Mistake naming the option."""
    if text is None:
        return 0.0
    try:
        value = float(text.strip().removesuffix("%")) / (100 if text.strip().endswith("%") else 1)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise Mistake(f"{option}={text}: expected a share between 0 and 1, such as 5% or 0.05")
    return value


def _collectable(text: str) -> bool:
    return text.endswith(".py") or "::" in text
