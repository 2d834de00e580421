"""What the doctor found, as text."""

from collections.abc import Sequence

from ..contracts import KERNELS
from ..doctor import Finding
from .table import table

_HEAD = ["#", "kernel", "operator", "provider", "package", "function", "our call", "built for"]


def doctor_lines(findings: Sequence[Finding], device: str) -> list[str]:
    """A line per kernel and library that may hold it, then what is missing or does not fit, a sentence each."""
    lines = [device, *table(_HEAD, _rows(findings), left=len(_HEAD)), ""]
    gone = [one for one in findings if one.version is not None and not one.released]
    lines += [
        f"{one.distribution} {one.version} does not have {one.contract.kernel}: it is in {one.contract.releases}" for one in gone
    ]
    lines += dict.fromkeys(one.architecture for one in findings if one.architecture)
    absent = sorted({" or ".join(one.contract.packages) for one in findings if one.version is None})
    lines += [f"not installed: {name}" for name in absent]
    lines += [f"does not fit: {sentence}" for sentence in surprises(findings)]
    ready = {one.contract.place for one in findings if one.released and not one.misfits}
    lines.append(f"{len(ready)} of {len(KERNELS)} kernels have a library here that takes our calls{_of_them(findings, ready)}")
    return lines


def surprises(findings: Sequence[Finding]) -> list[str]:
    """Where a library that is here is not as its contract says."""
    return [one.surprise for one in findings if one.surprise]


def _of_them(findings: Sequence[Finding], ready: set[str]) -> str:
    """How many of the kernels that have a library the GPU here can run."""
    if not any(one.architecture for one in findings):
        return ""
    can = {one.contract.place for one in findings if one.released and not one.misfits and one.architecture is None}
    return f"; the GPU here can run {len(can & ready)} of them"


def _rows(findings: Sequence[Finding]) -> list[list[str]]:
    rows, last = [], ""
    for one in findings:
        contract = one.contract
        number = str(KERNELS.index(contract.place) + 1) if contract.place != last else ""
        last = contract.place
        package = f"{one.distribution} {one.version}" if one.version else "not installed"
        rows.append(
            [number, contract.kernel, contract.operator, contract.provider, package, *_fit(one), ", ".join(contract.arch) or "-"]
        )
    return rows


def _fit(one: Finding) -> tuple[str, str]:
    """Whether the functions are there, and whether they take our calls."""
    if not one.functions:
        return "our own", "-"
    if one.version is None:
        return "-", "-"
    if not one.found:
        return ("missing" if one.released else "gone"), "-"
    return "found", "does not fit" if one.misfits else "fits"
