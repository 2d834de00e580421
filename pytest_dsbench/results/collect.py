"""Reads run files into one collection. Devices are never mixed, and what cannot be read is said."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from .. import runs
from ..environment import Environment
from ..gate.baseline import is_baseline
from ..hardware import named
from ..hardware.sheet import Hardware
from ..measurement import Measurement
from ..mistake import Mistake
from ..record import Record
from ..runs import Header
from ..units import show_count
from ..verdict import Verdict
from .result import Result, category_of, kernel_of

#: More bad lines of one file say nothing more.
_MOST = 10


class Source(Record):
    """One run file."""

    #: stem of the file; its path where another one has that stem
    name: str
    path: str
    header: Header
    #: whether its last line is there
    complete: bool
    results: tuple[Result, ...]
    #: what the gate said
    verdicts: tuple[Verdict, ...] = ()


class Device(Record):
    """All runs on one kind of device, in the order of time."""

    #: name of the data sheet; a number or a word behind it keeps devices apart that share one
    key: str
    #: as the driver, or the source of the data, names it
    title: str
    sources: tuple[Source, ...]

    @property
    def hardware(self) -> Hardware:
        """The data sheet of the last run: a CPU's is measured anew in each."""
        return self.sources[-1].header.hardware

    @property
    def results(self) -> tuple[Result, ...]:
        """Every record."""
        return tuple(one for source in self.sources for one in source.results)

    @property
    def latest(self) -> tuple[Result, ...]:
        """The newest record of every case and provider."""
        return tuple({one.case.identity: one for one in self.results}.values())

    @property
    def imported(self) -> bool:
        """Whether the times were measured elsewhere."""
        return self.sources[-1].header.imported is not None


class Collection(Record):
    """What a report is made from."""

    devices: tuple[Device, ...]
    #: a sentence for every line or file that was left out, and for what was kept apart
    remarks: tuple[str, ...] = ()

    @property
    def results(self) -> tuple[Result, ...]:
        """Every record of every device."""
        return tuple(one for device in self.devices for one in device.results)

    @property
    def latest(self) -> tuple[Result, ...]:
        """The newest record of every case and provider on every device."""
        return tuple(one for device in self.devices for one in device.latest)


def collect(paths: Iterable[Path]) -> Collection:
    """The runs in these files, and in all `*.jsonl` of a folder. Raises Mistake where there is no record in any of them."""
    paths = list(paths)
    remarks: list[str] = []
    found = [run for path in _files(paths, remarks) if (run := _read(path, remarks)) is not None]
    devices = _devices(found)
    if not any(device.results for device in devices):
        raise Mistake("; ".join([*remarks, f"no case in {', '.join(map(str, paths))}: nothing to report"]))
    return Collection(devices=devices, remarks=(*remarks, *_apart(devices)))


def _files(paths: Sequence[Path], remarks: list[str]) -> Iterator[Path]:
    """Every file once."""
    seen = set()
    for path in paths:
        files = sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
        if not files:
            raise Mistake(f"{path}: no run file (*.jsonl) in this folder")
        for file in files:
            if file.resolve() in seen:
                remarks.append(f"{file} was given twice; it is read once")
            else:
                seen.add(file.resolve())
                yield file


def _read(path: Path, remarks: list[str]) -> tuple[runs.Run, Header] | None:
    """One run file with its first line. Raises Mistake for what is no run file at all."""
    try:
        run = runs.read(path)
    except OSError as error:
        raise Mistake(f"{path}: cannot be read: {error.strerror or error}") from None
    if run.header is None and not run.measurements and is_baseline(path.read_bytes()):
        raise Mistake(
            f"{path}: a baseline; expected a run file, such as those in runs/ (`dsbench baseline show` shows baselines)"
        )
    if run.header is None and not run.measurements:
        first = run.complaints[0].removeprefix(f"{path}:1: ") if run.complaints else "it is empty"
        remarks.append(f"{path}: no run file, since none of its lines is a run or a case ({first}); it is left out")
        return None
    remarks += run.complaints[:_MOST]
    if len(run.complaints) > _MOST:
        remarks.append(f"{path}: {show_count(len(run.complaints) - _MOST, 'more bad line')}")
    header = run.header or _restored(path, run.measurements, remarks)
    if header is not None and not run.measurements:
        remarks.append(f"{path}: no case in it")
    return None if header is None else (run, header)


def _restored(path: Path, found: Sequence[Measurement], remarks: list[str]) -> Header | None:
    """Of a file whose first line is lost: what its cases say of the device, where that is enough."""
    names = {one.hardware for one in found if one.hardware}
    try:
        hardware = named(names.pop()) if len(names) == 1 else None
    except Mistake:
        hardware = None
    if hardware is None:
        remarks.append(f"{path}: its first line, with the environment and the data sheet, is missing; the file is left out")
        return None
    remarks.append(
        f"{path}: its first line is missing: the environment is not known, the roofs are those of the sheet {hardware.name}"
    )
    return Header(started="", environment=Environment(device="cuda"), hardware=hardware)


def _devices(found: Sequence[tuple[runs.Run, Header]]) -> tuple[Device, ...]:
    """The runs by device: devices in the order in which they were given, the runs of one in the order of time."""
    groups: dict[tuple[str, str, bool], list[tuple[runs.Run, Header]]] = {}
    for run, header in found:
        groups.setdefault((header.hardware.name, _title(header), header.imported is not None), []).append((run, header))
    stems = Counter(Path(run.path).stem for run, _ in found)
    devices: list[Device] = []
    for (name, title, imported), members in groups.items():
        key = _free(f"{name}-imported" if imported else name, [device.key for device in devices])
        members.sort(key=lambda one: (one[1].started, one[0].path))
        sources = tuple(_source(run, header, key, _name(run.path, stems)) for run, header in members)
        devices.append(Device(key=key, title=title, sources=sources))
    return tuple(devices)


def _title(header: Header) -> str:
    place = header.environment
    return place.gpu or place.cpu or header.hardware.title


def _free(key: str, taken: Sequence[str]) -> str:
    """A key that no other device has."""
    return next(name for name in (key, *(f"{key}-{number}" for number in range(2, len(taken) + 3))) if name not in taken)


def _name(path: str, stems: Mapping[str, int]) -> str:
    return Path(path).stem if stems[Path(path).stem] == 1 else path


def _source(run: runs.Run, header: Header, device: str, name: str) -> Source:
    results = tuple(
        Result(
            measurement=one,
            kernel=kernel_of(one.case),
            category=category_of(one.case),
            device=device,
            run=name,
            started=header.started,
            hardware=header.hardware,
            environment=header.environment,
        )
        for one in run.measurements
    )
    return Source(name=name, path=run.path, header=header, complete=run.end is not None, results=results, verdicts=run.verdicts)


def _apart(devices: Sequence[Device]) -> list[str]:
    """What must not be read as one: several devices, and several environments of one."""
    said = []
    if len(devices) > 1:
        names = ", ".join(f"{device.key} ({device.title})" for device in devices)
        said.append(f"runs of {len(devices)} devices, which are kept apart: {names}")
    for device in devices:
        environments = {source.header.environment.key() for source in device.sources}
        if len(environments) > 1:
            said.append(
                f"{device.key}: {len(device.sources)} runs in {len(environments)} environments;"
                " a difference between them may be one of driver, libraries or settings"
            )
        said += [
            f"{source.path}: the run has no last line: it was interrupted" for source in device.sources if not source.complete
        ]
        if device.imported:
            said.append(f"{device.key}: times that were measured elsewhere and not checked here")
    return said
