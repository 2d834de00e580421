"""Results: runs as reports read them, kept apart by device, with what follows from data sheet and record."""

from pathlib import Path

import pytest
import reported

from pytest_dsbench.environment import Environment
from pytest_dsbench.measurement import Measurement, Planned
from pytest_dsbench.mistake import Mistake
from pytest_dsbench.operator import CATEGORIES
from pytest_dsbench.operators import everything
from pytest_dsbench.results import Device, Result, collect, compare
from pytest_dsbench.results.result import category_of, kernel_of
from pytest_dsbench.results.standing import kernels, passing
from pytest_dsbench.roofline import Bound
from pytest_dsbench.runs import Writer
from pytest_dsbench.stats import Estimate
from pytest_dsbench.work import Work

HEAD = reported.header("h200")
CASES = reported.bounded(HEAD, 12)
DATA = Path(__file__).parent / "data"


def only(path: Path) -> Device:
    (device,) = collect([path]).devices
    return device


def test_what_follows_from_a_record(tmp_path: Path) -> None:
    """On an H200: 4.8 TB/s, 989.5 TFLOP/s bf16, 67 TFLOP/s fp32."""
    case = Planned(operator="mine", dims={"m": 1, "dtype": "fp16"}, label="m1", where="a.toml:1", provider="triton")
    record = Measurement(
        case=case,
        status="passed",
        work=Work(read=3_000_000, written=1_000_000, flop={"bf16": 2_000_000_000, "fp32": 67_000_000}),
        bound=Bound(seconds=3e-6, by="compute", regime="compute"),
        time=Estimate(median=10e-6, low=9e-6, high=12e-6, n=30, stopped_by="precise"),
        efficiency=0.3,
        cold=True,
        packages={"triton": "3.6.0", "torch": "2.11"},
    )
    (one,) = only(reported.write(tmp_path, HEAD, [record])).latest
    assert one.flop_rate == pytest.approx(2.067e9 / 1e-5)
    assert one.byte_rate == pytest.approx(4e11)
    assert one.share_of_bandwidth == pytest.approx(4e11 / 4.8e12)
    assert one.share_of_compute == pytest.approx((2e9 / 989.5e12 + 67e6 / 67e12) / 1e-5)
    assert one.intensity == pytest.approx(2067 / 4)
    assert (one.unit, one.dtype, one.category, one.kernel) == ("bf16", "fp16", "other", "mine")
    assert one.interval == (9e-6, 12e-6)
    assert one.versions == "torch 2.11, triton 3.6.0"
    assert one.counts and one.standing == "passing" and one.t_sol == 3e-6


def test_what_is_not_known_is_none(tmp_path: Path) -> None:
    skipped = reported.record(CASES[0], HEAD, None, status="skipped", reason="memory over the budget").replace(
        work=None, bound=None
    )
    (one,) = only(reported.write(tmp_path, HEAD, [skipped])).latest
    figures = (one.seconds, one.interval, one.t_sol, one.flop_rate, one.byte_rate, one.intensity, one.unit, one.share_of_compute)
    assert figures == (None,) * len(figures) and one.share_of_bandwidth is None
    assert one.standing == "not timed" and not one.counts


def test_a_unit_that_the_sheet_lacks(tmp_path: Path) -> None:
    odd = reported.record(CASES[0], HEAD).replace(work=Work(read=1, written=1, flop={"fp4": 5}))
    (one,) = only(reported.write(tmp_path, HEAD, [odd])).latest
    assert one.unit is None and one.share_of_compute is None


@pytest.mark.parametrize(
    ("changes", "counts", "standing"),
    [
        ({"status": "invalid"}, False, "failing"),
        ({"status": "noisy_host"}, False, "passing"),
        ({"status": "not_run"}, False, "failing"),
        ({"status": "checked"}, False, "passing"),
        ({"cold": False}, False, "passing"),
        ({"cold": None}, True, "passing"),
    ],
)
def test_what_may_be_compared(tmp_path: Path, changes: dict[str, object], counts: bool, standing: str) -> None:
    (one,) = only(reported.write(tmp_path, HEAD, [reported.record(CASES[0], HEAD).replace(**changes)])).latest
    assert (one.counts, one.standing) == (counts, standing)


def test_one_sample_has_no_interval(tmp_path: Path) -> None:
    time = Estimate(median=1e-5, low=1e-5, high=1e-5, n=1, stopped_by="imported")
    (one,) = only(reported.write(tmp_path, HEAD, [reported.record(CASES[0], HEAD).replace(time=time)])).latest
    assert one.seconds == 1e-5 and one.interval is None


def test_devices_are_kept_apart_and_it_is_said(tmp_path: Path) -> None:
    other = reported.header("b200")
    paths = [
        reported.run_of(tmp_path, HEAD, CASES),
        reported.run_of(tmp_path, other, CASES),
        reported.run_of(tmp_path, reported.header("h200", gpu="NVIDIA H200 NVL"), CASES),
        reported.published(tmp_path),
    ]
    found = collect(paths)
    assert [(one.key, len(one.latest)) for one in found.devices] == [
        ("h200", 12),
        ("b200", 12),
        ("h200-2", 12),
        ("xpu_a-imported", 440),
    ]
    assert found.remarks[0].startswith("runs of 4 devices, which are kept apart: h200 (NVIDIA H200 SXM), b200 (")
    assert found.remarks[1:] == ("xpu_a-imported: times that were measured elsewhere and not checked here",)
    assert len(found.results) == len(found.latest) == 36 + 440


def test_runs_of_one_device_are_in_the_order_of_time(tmp_path: Path) -> None:
    late = reported.run_of(tmp_path, reported.header(started="2026-11-03T01:00:00"), CASES[:6], lambda *_: 0.6)
    soon = reported.run_of(tmp_path, reported.header(started="2026-11-02T01:00:00", driver="570.2"), CASES, lambda *_: 0.5)
    found = collect([late, soon])
    (device,) = found.devices
    assert [source.path for source in device.sources] == [str(soon), str(late)]
    assert [one.efficiency for one in device.latest] == [0.6] * 6 + [0.5] * 6
    assert len(device.results) == 18
    (remark,) = found.remarks
    assert remark.startswith("h200: 2 runs in 2 environments; ")


def test_a_folder_and_a_file_of_it(tmp_path: Path) -> None:
    path = reported.run_of(tmp_path, HEAD, CASES)
    found = collect([tmp_path, path])
    assert len(found.results) == 12
    assert found.remarks == (f"{path} was given twice; it is read once",)


def test_two_files_of_one_name(tmp_path: Path) -> None:
    paths = [reported.run_of(tmp_path / name, HEAD, CASES) for name in ("a", "b")]
    assert [source.name for source in collect(paths).devices[0].sources] == [str(path) for path in paths]


def test_a_truncated_run(tmp_path: Path) -> None:
    path = reported.run_of(tmp_path, HEAD, CASES)
    path.write_bytes(path.read_bytes()[:-700])
    found = collect([path])
    kept = len(found.results)
    assert 0 < kept < 12
    assert found.remarks[0].startswith(f"{path}:{kept + 2}: ")
    assert found.remarks[1] == f"{path}: the run has no last line: it was interrupted"


def test_a_run_without_its_first_line(tmp_path: Path) -> None:
    """What the cases say of the device is enough, where it is a packaged sheet."""
    path = reported.run_of(tmp_path, HEAD, CASES)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"{broken\n" + b"".join(lines[1:]))
    found = collect([path])
    assert [one.key for one in found.devices] == ["h200"] and len(found.results) == 12
    assert any("first line is missing: the environment is not known" in remark for remark in found.remarks)
    assert found.devices[0].sources[0].header.environment == Environment(device="cuda")


def test_a_cpu_run_without_its_first_line_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"".join((DATA / "run_v3.jsonl").read_bytes().splitlines(keepends=True)[1:]))
    other = reported.run_of(tmp_path, HEAD, CASES)
    found = collect([path, other])
    assert [one.key for one in found.devices] == ["h200"]
    assert found.remarks == (
        f"{path}: its first line, with the environment and the data sheet, is missing; the file is left out",
    )


def test_nothing_to_report(tmp_path: Path) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.touch()
    head = Writer(tmp_path, HEAD)
    head.close()
    with pytest.raises(Mistake, match=r"empty\.jsonl: no run file, .*\(it is empty\).*no case in it.*nothing to report"):
        collect([empty, head.path])
    with pytest.raises(Mistake, match=r"README\.md: no run file, since none of its lines is a run or a case \(") as found:
        collect([DATA.parent.parent / "README.md"])
    assert len(str(found.value)) < 400
    with pytest.raises(Mistake, match=r"none\.jsonl: no such run file"):
        collect([tmp_path / "none.jsonl"])
    with pytest.raises(Mistake, match=r"no run file \(\*\.jsonl\) in this folder"):
        collect([DATA.parent / "plugin"])
    with pytest.raises(Mistake, match=r"baseline_v1\.jsonl: a baseline; expected a run file"):
        collect([DATA / "baseline_v1.jsonl"])


def test_of_many_bad_lines_some_are_named(tmp_path: Path) -> None:
    path = reported.run_of(tmp_path, HEAD, CASES)
    path.write_bytes(path.read_bytes() + b"{\n" * 25)
    found = collect([path])
    assert len(found.results) == 12
    assert [remark.split(": ")[0] for remark in found.remarks] == [*(f"{path}:{number}" for number in range(15, 25)), str(path)]
    assert found.remarks[-1] == f"{path}: 15 more bad lines"


def test_an_empty_run_beside_a_good_one(tmp_path: Path) -> None:
    head = Writer(tmp_path, reported.header(started="2026-11-09T01:00:00"))
    head.close()
    found = collect([reported.run_of(tmp_path, HEAD, CASES), head.path])
    assert f"{head.path}: no case in it" in found.remarks
    assert len(found.latest) == 12


@pytest.mark.parametrize("version", [1, 2, 3])
def test_runs_of_older_versions(version: int) -> None:
    device = only(DATA / f"run_v{version}.jsonl")
    assert device.key == "cpu" and all(one.category for one in device.latest)


def test_operators_are_looked_up_once_and_not_for_every_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records of older runs have no category, and a season of nights has tens of thousands of records."""
    looked: list[str] = []
    monkeypatch.setattr("pytest_dsbench.operators.import_module", looked.append)
    only(reported.run_of(tmp_path, HEAD, CASES))
    only(DATA / "run_v3.jsonl")
    assert len(looked) == 0


def test_every_operator_has_a_category() -> None:
    ours = {name: cls.category for name, cls in everything().items() if cls.__module__.startswith("pytest_dsbench.")}
    assert len(ours) >= 48
    assert {name for name, category in ours.items() if category not in CATEGORIES or category == "other"} == set()


def test_the_category_of_older_and_of_foreign_cases() -> None:
    case = Planned(operator="rms_norm", dims={}, label="", where="a:1", provider="torch")
    assert category_of(case) == "norm"
    assert category_of(case.replace(category="mine")) == "mine"
    assert category_of(case.replace(operator="nobody_knows")) == "other"


def test_the_kernel_under_contract() -> None:
    case = Planned(operator="fused_add_rms_norm", dims={}, label="", where="a:1", provider="sgl_kernel")
    assert kernel_of(case) == "fused_add_rmsnorm"
    assert kernel_of(case.replace(provider="torch")) == "fused_add_rms_norm"


def results(folder: Path, *records: Measurement) -> tuple[Result, ...]:
    return only(reported.write(folder, HEAD, records)).latest


def test_standing_of_kernels(tmp_path: Path) -> None:
    one, two, *_ = (case for case in CASES if case.op.name == CASES[0].op.name)
    found = kernels(
        results(
            tmp_path,
            reported.record(one, HEAD),
            reported.record(two, HEAD, None, status="skipped"),
            reported.record(one, HEAD, provider="b"),
            reported.record(two, HEAD, provider="b", status="failed"),
            reported.record(two, HEAD, None, provider="c", status="skipped"),
        )
    )
    assert [(kernel.provider, kernel.standing) for kernel in found] == [
        ("triton", "passing"),
        ("b", "failing"),
        ("c", "not timed"),
    ]
    assert passing(found) == "1 of 3 kernels pass, 1 fails, 1 without a result"
    assert passing(found[:1]) == "1 of 1 kernels pass"


def test_comparing_case_by_case(tmp_path: Path) -> None:
    a, b, c, d = CASES[:4]
    first = results(tmp_path / "1", *(reported.record(case, HEAD, 0.5) for case in (a, b, c)))
    second = results(
        tmp_path / "2",
        reported.record(a, HEAD, 0.25),
        reported.record(b, HEAD, 0.5 * 0.99),
        reported.record(c, HEAD, 0.9, status="failed"),
        reported.record(d, HEAD, 0.5),
    )
    found = compare(first, second)
    assert [pair.ratio for pair in found.pairs] == [pytest.approx(2.0), pytest.approx(1 / 0.99)]
    assert [pair.clear for pair in found.pairs] == [True, False]
    assert (found.by, found.only_first, found.only_second) == ("provider", 1, 1)
    assert found.middle == pytest.approx((2 + 1 / 0.99) / 2)


def test_comparing_providers_that_differ(tmp_path: Path) -> None:
    """Somebody else's table against ours: each shape by its fastest."""
    a = CASES[0]
    first = results(tmp_path / "1", *(reported.record(a, HEAD, share, provider=name) for name, share in (("x", 0.2), ("y", 0.4))))
    second = results(tmp_path / "2", reported.record(a, HEAD, 0.8, provider="deep_gemm"))
    found = compare(first, second)
    (pair,) = found.pairs
    assert (found.by, pair.first.case.provider, pair.second.case.provider) == ("fastest", "y", "deep_gemm")
    assert pair.ratio == pytest.approx(0.5)


def test_nothing_in_common() -> None:
    found = compare([], [])
    assert found.pairs == () and found.middle is None
