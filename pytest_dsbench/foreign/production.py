"""The production times that were published with the package's own shapes, as found rows."""

from collections.abc import Iterator

from ..hardware.sheet import Hardware
from ..measurement import read_back
from ..mistake import Mistake
from ..shapes import bundled, load
from .found import Found, single


def devices() -> list[str]:
    """The data sheets of the devices that there are published times of."""
    return sorted({case.production_on for case in load(bundled()).cases if case.production_on and case.provenance.production_us})


def found(hardware: Hardware) -> Iterator[Found]:
    """The published time of every row on one device. Raises Mistake where there is none."""
    cases = [
        case
        for case in load(bundled(), fp8=hardware.fp8_encoding).cases
        if case.production_on == hardware.name and case.provenance.production_us is not None
    ]
    if not cases:
        raise Mistake(f"--hw {hardware.name}: no published times come with the shapes, only those of {', '.join(devices())}")
    for case in cases:
        library = case.provenance.library
        yield Found(
            where=case.where,
            operator=case.op.name,
            dims=read_back(case.op),
            provider=library or "production",
            time=single((case.provenance.production_us or 0.0) * 1e-6),
            label=case.label,
        )


#: What a run of them says of itself.
NOTE = "T_SOL is that of our own formulas of work; `dsbench score --published` uses the published ones, which differ for some"
