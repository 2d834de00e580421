"""The plan: every case's bytes, FLOP and bound on any sheet, as a documented line of JSON."""

import json
import sys

import msgspec
import pytest

import pytest_dsbench
from pytest_dsbench import plan as planning
from pytest_dsbench.hardware import Hardware, named
from pytest_dsbench.mistake import Mistake
from pytest_dsbench.plan import plan, sheet
from pytest_dsbench.report.bounds import plan_lines
from pytest_dsbench.roofline import bound
from pytest_dsbench.shapes import bundled, load

CASES = load(bundled()).cases
GB200, H20 = named("gb200"), named("h20")
#: A device without fp8.
OLD = Hardware(name="old", title="Old GPU", peak={"bf16": 1e12, "fp32": 1e11}, bandwidth=1e12, source="made up")


def test_every_case_in_order() -> None:
    found = plan(CASES, GB200)
    assert [one.case for one in found] == list(CASES)
    for one in found:
        assert one.work == one.case.op.work() and one.bound == bound(one.work, GB200) and one.reason is None


def test_a_unit_that_a_device_lacks_is_named() -> None:
    lacking = [one for one in plan(CASES, H20) if one.bound is None]
    assert {one.case.op.name for one in lacking} == {"scaled_fp4_mm", "fp4_group_mm", "fp4_block_scale_moe"}
    assert {one.reason for one in lacking} == {
        "h20 (NVIDIA H20) has no fp4 peak; its sheet has bf16, fp16, fp8, int8, tf32, fp32"
    }


def test_the_documented_line() -> None:
    case = next(case for case in CASES if case.op.name == "attention_forward" and case.provenance.id == 0)
    (one,) = plan([case], H20)
    line = json.loads(msgspec.json.encode(one.to_json()))
    flop = 4 * 720**2 * 16 * 72
    moved = 4 * 720 * 16 * 72 * 2 + 2 * 4 * 2
    assert line == {
        "operator": "attention_forward",
        "dims": {"heads": 16, "head_dim": 72, "seq_lens": [720], "dtype": "bf16"},
        "published_id": 0,
        "tags": ["production", "prefill"],
        "bytes_read": moved - 720 * 16 * 72 * 2,
        "bytes_written": 720 * 16 * 72 * 2,
        "flop": {"bf16": flop},
        "t_sol_s": pytest.approx(max(flop / 148e12, moved / 4e12), rel=1e-12),
        "bound_by": "compute",
        "regime": "compute",
    }
    assert list(line)[:3] == ["operator", "dims", "published_id"]


def test_what_is_not_published_has_no_id() -> None:
    case = CASES[0].replace(provenance=CASES[0].provenance.replace(id=None))
    assert plan([case], H20)[0].to_json()["published_id"] is None


def test_a_missing_unit_leaves_no_bound_and_says_why() -> None:
    able, unable = (next(case for case in CASES if case.op.name == name) for name in ("rms_norm", "block_scaled_mm"))
    first, second = plan([able, unable], OLD)
    assert first.bound is not None and second.bound is None
    assert second.reason == "old (Old GPU) has no fp8 peak; its sheet has bf16, fp32"
    line = second.to_json()
    assert (line["t_sol_s"], line["bound_by"], line["regime"]) == (None, None, None)
    assert line["bytes_read"] == unable.op.work().read
    assert set(line) == set(first.to_json())


def test_a_plan_as_text() -> None:
    chosen = [case for case in CASES if case.op.name in ("rms_norm", "block_scaled_mm")]
    lines = plan_lines(plan(chosen, OLD), OLD)
    assert lines[0] == "old: Old GPU; 1.00 TB/s; bf16 1.00 TFLOP/s, fp32 100 GFLOP/s"
    for name in ("rms_norm", "block_scaled_mm"):
        count = len([case for case in chosen if case.op.name == name])
        at = lines.index(f"{name} ({count} cases)")
        assert lines[at + 1].split() == ["case", "bytes", "FLOP", "FLOP/B", "regime", "T_SOL"]
        assert all(line.startswith("m" if name == "block_scaled_mm" else "tokens") for line in lines[at + 2 : at + 2 + count])
        assert all(line.endswith("no bound") == (name == "block_scaled_mm") for line in lines[at + 2 : at + 2 + count])
    assert lines[-2:] == ["", "no bound: old (Old GPU) has no fp8 peak; its sheet has bf16, fp32"]
    assert "no bound: " not in "\n".join(plan_lines(plan(chosen, H20), H20))
    assert plan_lines([], H20)[1:] == []


# -- the sheet a plan is made for ---------------------------------------------------------------------------------------------


def test_a_named_sheet_needs_no_device() -> None:
    assert sheet("gb200").name == "gb200"
    with pytest.raises(Mistake, match="unknown GPU 'gb201'"):
        sheet("gb201")


def test_the_cpu_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    peaks = pytest.importorskip("pytest_dsbench.peaks")
    monkeypatch.setattr(peaks, "sheet", lambda: OLD)
    monkeypatch.setattr("pytest_dsbench.hardware.device.has_gpu", lambda: False)
    assert sheet(None) is OLD and sheet("cpu") is OLD


def test_the_gpu_that_is_here(monkeypatch: pytest.MonkeyPatch) -> None:
    from pytest_dsbench.hardware import detect

    monkeypatch.setattr("pytest_dsbench.hardware.device.has_gpu", lambda: True)
    monkeypatch.setattr("pytest_dsbench.hardware.device.device", lambda: "here")
    monkeypatch.setattr(detect, "resolve", lambda option, device: OLD if (option, device) == (None, "here") else H20)
    assert sheet(None) is OLD


def test_measuring_the_cpu_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pytest_dsbench.peaks", None)
    monkeypatch.delattr(pytest_dsbench, "peaks", raising=False)
    with pytest.raises(Mistake, match=r"measuring this CPU's roofline needs torch; install pytest-dsbench\[torch\]"):
        planning.sheet("cpu")
