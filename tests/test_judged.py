"""What becomes of samples that beat the roof: measured again where the roof is measured, never a good score."""

import pytest

pytest.importorskip("torch")

from pytest_dsbench.clock import Samples
from pytest_dsbench.environment import Environment
from pytest_dsbench.hardware import Hardware
from pytest_dsbench.judged import judged as judge
from pytest_dsbench.measurement import Measurement, Planned
from pytest_dsbench.rig import Rig
from pytest_dsbench.roofline import bound
from pytest_dsbench.work import Work

#: A second of memory, half a second of compute.
ROOF = Hardware(name="cpu", title="CPU", kind="cpu", peak={"fp32": 2.0}, bandwidth=1.0, source="here")
WORK = Work(read=1, written=0, flop={"fp32": 1})


def judged(
    seconds: float, cold: bool, raised: Hardware | None, stopped_by: str = "precise"
) -> tuple[Measurement, list[Hardware]]:
    asked: list[Hardware] = []

    def raise_roof(old: Hardware) -> Hardware:
        asked.append(old)
        assert raised is not None
        return raised

    rig = Rig("cpu", ROOF, Environment(device="cpu"), None, 1.0, raise_roof=raise_roof if raised else None)
    case = Planned(operator="x", dims={}, label="", where="x:1", provider="torch")
    found = Measurement(case=case, status="checked", work=WORK, bound=bound(WORK, ROOF))
    samples = Samples(mode="cpu", seconds=[seconds] * 10, stopped_by=stopped_by, batches=10)
    return judge(rig, found, samples, cold), asked


@pytest.mark.parametrize(
    ("seconds", "cold", "status", "asked"),
    [
        (1.5, True, "passed", 0),
        (0.98, True, "passed", 0),
        # Faster than memory: the roof is looked at three times more, and stays.
        (0.9, True, "invalid", 3),
        # From the cache that is no news; faster than compute is.
        (0.9, False, "passed", 0),
        (0.4, False, "invalid", 3),
    ],
)
def test_a_beaten_roof(seconds: float, cold: bool, status: str, asked: int) -> None:
    found, again = judged(seconds, cold, ROOF)
    assert (found.status, len(again)) == (status, asked)
    assert found.efficiency == pytest.approx(1 / seconds)


def test_a_roof_that_was_too_low_is_no_fault_of_the_kernel() -> None:
    found, asked = judged(0.9, True, ROOF.replace(bandwidth=2.0))
    assert (found.status, found.bound) == ("passed", bound(WORK, ROOF.replace(bandwidth=2.0)))
    assert len(asked) == 1


def test_a_measured_roof_says_nothing_where_others_work_beside_it() -> None:
    """It may be too low, as the time may be too long: neither is the kernel's fault."""
    found, asked = judged(0.9, True, ROOF, "noisy host")
    assert (found.status, len(asked)) == ("noisy_host", 3)
    # A vendor's roof holds whatever else the machine does.
    assert judged(0.9, True, None, "noisy host")[0].status == "invalid"
    assert judged(0.9, True, None, "throttled")[0].status == "invalid"


def test_a_vendors_roof_is_not_raised() -> None:
    assert judged(0.9, True, None)[0].status == "invalid"
