"""Run files: appended line by line, readable wherever they were cut off."""

import json
from pathlib import Path
from typing import Any

import pytest

from pytest_dsbench import runs
from pytest_dsbench.anchors import Anchors
from pytest_dsbench.environment import Environment
from pytest_dsbench.hardware import Hardware
from pytest_dsbench.hardware.sheet import DriverFacts
from pytest_dsbench.measurement import Correctness, Measurement, Planned, planned
from pytest_dsbench.mistake import Mistake
from pytest_dsbench.record import Record
from pytest_dsbench.roofline import Bound
from pytest_dsbench.runs import Coverage, End, Header, Line, Writer, read, timestamp
from pytest_dsbench.shapes import Provenance, bundled, load
from pytest_dsbench.stats import Estimate
from pytest_dsbench.thresholds import Thresholds
from pytest_dsbench.verdict import Confirmation, Verdict
from pytest_dsbench.work import Work

#: One of every record, with every field set to something that is not its default.
HARDWARE = Hardware(
    name="h20",
    title="NVIDIA H20 \u00b5",
    kind="gpu",
    vendor="nvidia",
    peak={"bf16": 148e12, "fp8": 296e12},
    bandwidth=4.0e12,
    memory=96e9,
    l2=60e6,
    sms=78,
    link=450e9,
    link_gpus=8,
    launch_floor=2.3e-6,
    match=("NVIDIA H20",),
    fp8_encoding="fp8_e4m3fnuz",
    source="https://example.com",
    derived=True,
    driver=DriverFacts(capability="9.0", boost=1.98e9, memory_clock=2.6e9, memory_bus=5120),
)
ENVIRONMENT = Environment(
    device="cuda", gpu="NVIDIA H20", uuid="a", memory=96 * 10**9, sms=78, ecc=True, mig=False, power_limit=500.0, affinity=(0, 2)
)
HEADER = Header(
    started="2026-11-21T03:04:05",
    environment=ENVIRONMENT,
    hardware=HARDWARE,
    arguments=("-k", "a b"),
    absent=("x",),
    notes=("n",),
    coverage=Coverage(paths=("benches",), partial=("rms_norm",), providers=("triton",), opt_in=("torch_compile",)),
    planned=2,
    limits=Thresholds(min_change=0.02),
    imported="a.csv",
)
CASE = Planned(
    operator="attention_forward",
    dims={"heads": 2, "seq_lens": [3, 4], "dtype": "bf16", "eps": 1e-6},
    label="heads2",
    tags=("decode",),
    importance=0.25,
    provenance=Provenance(
        id=3, recovers=2, framework="vLLM", tp=4, calls=5, trace_us=1.5, production_us=2.5, library="aiter", note="n"
    ),
    where="shapes/a.toml:7",
    provider="torch",
    bench="benches/bench_attention.py::bench_attention_forward",
    category="attention",
)
MEASUREMENT = Measurement(
    case=CASE,
    status="invalid",
    reason="faster than light: \u03b7 = 1.2",
    notes=("hot", "floor"),
    ran=("aten.mul",),
    packages={"torch": "2.9"},
    work=Work(read=2**62, written=5, flop={"bf16": 2**63, "fp32": 1}),
    bound=Bound(seconds=1 / 3, by="compute", regime="launch"),
    time=Estimate(median=1e-5, low=0.9e-5, high=1.1e-5, n=30, stopped_by="precise"),
    efficiency=0.1 + 0.2,
    mode="events",
    cold=False,
    protocol=2,
    discarded={"off core": 3},
    correctness=Correctness(rel_l2={"out": 1e-3}, worst={"out": 0.5}, rounds=("content 0", "zeros"), deterministic=False),
    anchors=Anchors(copy_seconds=1e-3, compute_seconds=2e-3, launch_seconds=3e-6, compute_kind="triton fma"),
    at=1.7e9,
    hardware="h20",
    environment=ENVIRONMENT.key(),
    device="GPU-1",
)
CONFIRMATION = Confirmation(
    case=CASE,
    how="duet",
    levels=(0.1,),
    deltas=(0.1, 0.2),
    change=0.15,
    low=0.1,
    high=0.2,
    outcome="regressed",
    reason="r",
)
VERDICT = Verdict(
    case=CASE,
    outcome="regressed",
    why="w",
    then=1e-5,
    now=2e-5,
    efficiency_then=0.5,
    efficiency_now=0.25,
    t_sol=5e-6,
    change=0.7,
    low=0.6,
    high=0.8,
    allowed=0.015,
    mde=0.02,
    nights=15,
    needed=5,
    confirmed_by="duet",
    changed=("triton 3.5.0 -> 3.6.0",),
    level=-1.5,
    t=9.0,
    t_golden=10.0,
    crept=0.03,
)
END = End(planned=3, produced=2, not_run=("a", "b"))


def written(folder: Path, *lines: Line, header: Header = HEADER) -> Path:
    writer = Writer(folder, header)
    for line in lines:
        writer.append(line)
    writer.close()
    return writer.path


def test_a_run(tmp_path: Path) -> None:
    other = MEASUREMENT.replace(status="passed", reason=None)
    path = written(tmp_path / "new" / "runs", MEASUREMENT, CONFIRMATION, other, VERDICT, END)
    assert path == tmp_path / "new" / "runs" / "20261121T030405Z-h20.jsonl"
    found = read(path)
    measured = (MEASUREMENT, other)
    said = {"confirmations": (CONFIRMATION,), "verdicts": (VERDICT,)}
    assert found == runs.Run(path=str(path), header=HEADER, measurements=measured, end=END, **said)
    kinds = [json.loads(line)["kind"] for line in path.read_text().splitlines()]
    assert kinds == ["run", "case", "confirmation", "case", "verdict", "end"]
    assert {json.loads(line)["v"] for line in path.read_text().splitlines()} == {4}


def fields(record: Record) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__struct_fields__}


@pytest.mark.parametrize("record", [HEADER, MEASUREMENT, CONFIRMATION, VERDICT, END, HARDWARE, CASE])
def test_the_examples_leave_no_field_at_its_default(record: Record) -> None:
    """What is not set above would not be seen to get lost."""
    for field, default in zip(reversed(record.__struct_fields__), reversed(record.__struct_defaults__), strict=False):
        assert field in ("v", "kind", "vendor") or getattr(record, field) != default, field


def test_a_line_is_on_the_disk_before_the_next_case(tmp_path: Path) -> None:
    writer = Writer(tmp_path, HEADER)
    for count in range(3):
        found = read(writer.path)
        assert found.header == HEADER and len(found.measurements) == count and found.end is None
        writer.append(MEASUREMENT)
    writer.close()


def test_readable_when_cut_off_at_any_byte(tmp_path: Path) -> None:
    whole = written(tmp_path, MEASUREMENT, MEASUREMENT, END).read_bytes()
    ends = [at for at, byte in enumerate(whole) if byte == ord("\n")]
    path = tmp_path / "cut.jsonl"
    # Every byte of the first case, whose line holds characters of several bytes; of the others every seventh.
    for size in {*range(0, len(whole), 7), *range(ends[0] - 1, ends[1] + 3), *(end + by for end in ends for by in (0, 1))}:
        path.write_bytes(whole[:size])
        found = read(path)
        complete = sum(end <= size for end in ends)
        assert (found.header is not None) == (complete > 0)
        assert found.measurements == (MEASUREMENT,) * min(max(complete - 1, 0), 2)
        assert found.end == (END if complete == 4 else None)
        cut = size > 0 and size not in [0, *ends, *(end + 1 for end in ends)]
        assert len(found.complaints) == cut
        assert all(text.startswith(f"{path}:{complete + 1}: ") for text in found.complaints)


def test_bad_lines_stop_no_good_ones(tmp_path: Path) -> None:
    path = written(tmp_path, MEASUREMENT, END)
    lines = path.read_bytes().splitlines()
    bad = [
        b"",
        b"{",
        b"5",
        b"\xff\xfe",
        b'{"v": 1, "kind": "what"}',
        b'{"v": "1"}',
        lines[1].replace(b'"case"', b'"case", "zz": 1', 1),
    ]
    path.write_bytes(b"\n".join([lines[0], *bad, lines[1], lines[2]]) + b"\n")
    found = read(path)
    assert (found.header, found.measurements, found.end) == (HEADER, (MEASUREMENT,), END)
    assert [text.split(": ")[0] for text in found.complaints] == [f"{path}:{number}" for number in range(2, 9)]
    assert "unknown field `zz`" in found.complaints[-1]


def test_a_newer_version(tmp_path: Path) -> None:
    path = written(tmp_path, MEASUREMENT)
    lines = path.read_bytes().splitlines()
    newer = json.dumps({"v": 5, "kind": "case", "surprise": True}).encode()
    path.write_bytes(b"\n".join([lines[0], newer, lines[1]]))
    found = read(path)
    assert found.measurements == (MEASUREMENT,)
    assert found.complaints == (
        f"{path}:2: format version 5 is newer than 4, the newest this version reads; update pytest-dsbench",
    )


def test_the_version_before() -> None:
    """A real file of version 3: categories were not known."""
    found = read(Path(__file__).parent / "data" / "run_v3.jsonl")
    assert found.complaints == () and found.header is not None and found.end is not None
    assert found.header.imported is None
    assert {(one.v, one.status, one.case.category) for one in found.measurements} == {(3, "passed", ""), (3, "skipped", "")}


def test_the_version_before_that() -> None:
    """A real file of version 2: a worker crashed, and the run was interrupted."""
    found = read(Path(__file__).parent / "data" / "run_v2.jsonl")
    assert found.complaints == () and found.header is not None and found.end is not None
    assert [(one.v, one.case.label, one.status) for one in found.measurements] == [
        (2, "rows16", "checked"),
        (2, "rows16", "crashed"),
        (2, "rows64", "crashed"),
    ]
    assert found.end.not_run == ("bench_doubled.py::bench_doubled[rows64-good]",)


def test_an_older_version() -> None:
    """A real file of version 1."""
    found = read(Path(__file__).parent / "data" / "run_v1.jsonl")
    assert found.complaints == () and found.header is not None and found.end is not None
    (case,) = found.measurements
    assert (case.v, case.status, case.case.bench) == (1, "passed", "")


def test_runs_that_begin_in_the_same_second(tmp_path: Path) -> None:
    names = [written(tmp_path).name for _ in range(3)]
    assert names == ["20261121T030405Z-h20.jsonl", "20261121T030405Z-h20-2.jsonl", "20261121T030405Z-h20-3.jsonl"]
    assert all(read(tmp_path / name).header == HEADER for name in names)
    assert written(tmp_path, header=HEADER.replace(hardware=HARDWARE.replace(name="b200"))).name == "20261121T030405Z-b200.jsonl"


def test_a_thousand_runs_in_one_second(tmp_path: Path) -> None:
    for number in range(1, 1000):
        (tmp_path / f"20261121T030405Z-h20{'' if number == 1 else f'-{number}'}.jsonl").touch()
    with pytest.raises(Mistake, match="a thousand runs began at 20261121T030405Z-h20"):
        Writer(tmp_path, HEADER)


def test_no_such_file(tmp_path: Path) -> None:
    for path in (tmp_path / "none.jsonl", tmp_path):
        with pytest.raises(Mistake, match="no such run file"):
            read(path)


def test_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").touch()
    assert read(tmp_path / "a.jsonl") == runs.Run(path=str(tmp_path / "a.jsonl"), header=None, measurements=(), end=None)


def test_timestamps_name_files() -> None:
    assert len(timestamp()) == len("2026-11-21T03:04:05") and "+" not in timestamp()


def test_every_bundled_case_can_be_planned_and_stored(tmp_path: Path) -> None:
    cases = load(bundled()).cases
    lines = [Measurement(case=planned(case, "torch"), status="skipped", work=case.op.work()) for case in cases]
    assert read(written(tmp_path, *lines)).measurements == tuple(lines)
    first = lines[0].case
    assert type(cases[0].op).build(first.dims) == cases[0].op
    assert first.name == f"{cases[0].op.name}[{cases[0].label}] torch" and first.where == cases[0].where


@pytest.mark.parametrize(
    "status",
    ["passed", "failed", "skipped", "invalid", "checked", "noisy_host", "throttled", "crashed", "timed_out", "not_run"],
)
def test_which_statuses_fail_a_bench(status: Any) -> None:
    assert MEASUREMENT.replace(status=status).ok == (status not in ("failed", "invalid", "crashed", "timed_out", "not_run"))
