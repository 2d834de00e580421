"""The measured roof of a CPU: what is kept, what is measured again, and which dtype gets whose rate."""

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from pytest_dsbench import peaks  # noqa: E402
from pytest_dsbench.hardware import Hardware  # noqa: E402

RATES = {"fp64": 1e9, "fp32": 4e9, "fp16": 2e9, "bf16": 3e9, "fp8": 0.0, "int8": 8e9}


@pytest.fixture
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What measuring gives, without measuring; and how often it was done."""
    given: dict[str, Any] = {"rates": dict(RATES), "bandwidth": 10e9, "asked": []}

    def rate(unit: str) -> float:
        given["asked"].append(unit)
        return float(given["rates"][unit])

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(peaks, "_matmul_rate", rate)
    monkeypatch.setattr(peaks, "_bandwidth", lambda: given["bandwidth"])
    monkeypatch.setattr(peaks, "_glance", lambda: (given["bandwidth"], given["rates"]["fp32"]))
    monkeypatch.setattr(peaks, "_empty_call", lambda: 1e-6)
    return given


def test_the_sheet(measured: dict[str, Any]) -> None:
    found = peaks.measure()
    assert (found.name, found.kind, found.bandwidth, found.launch_floor) == ("cpu", "cpu", 10e9, 1e-6)
    assert (found.sms, found.l2) == (peaks.cores(), peaks.last_level_cache())
    assert found.memory and found.memory > 2**28
    assert found.source.startswith("measured here on 20") and f"torch {torch.__version__}" in found.source
    assert measured["asked"] == list(RATES)


def test_a_dtype_gets_the_best_rate_that_holds_its_values(measured: dict[str, Any]) -> None:
    # fp32 is the fastest here, and holds what the narrower floats hold.
    assert peaks.measure().peak == {
        "fp64": 1e9, "fp32": 4e9, "fp16": 4e9, "bf16": 4e9, "fp8": 4e9, "fp4": 4e9, "int8": 8e9,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        ({"bf16": 9e9}, {"bf16": 9e9, "fp8": 9e9, "fp4": 9e9, "fp16": 4e9, "fp32": 4e9}),
        ({"bf16": 9e9, "fp8": 20e9}, {"bf16": 9e9, "fp8": 20e9, "fp4": 20e9}),
        ({"bf16": 9e9, "fp8": 2e9}, {"fp8": 9e9, "fp4": 9e9}),
        ({"fp16": 9e9}, {"fp16": 9e9, "bf16": 4e9, "fp8": 9e9}),
        ({"fp64": 5e9}, {"fp64": 5e9, "fp32": 5e9, "bf16": 4e9}),
    ],
)
def test_whose_rate(measured: dict[str, Any], rates: dict[str, float], expected: dict[str, float]) -> None:
    measured["rates"].update(rates)
    found = peaks.measure().peak
    assert {unit: found[unit] for unit in expected} == expected  # type: ignore[index]


def test_a_unit_without_any_rate_is_absent(measured: dict[str, Any]) -> None:
    measured["rates"]["int8"] = 0.0
    assert "int8" not in peaks.measure().peak


def test_kept_and_read_back(measured: dict[str, Any], tmp_path: Path) -> None:
    assert peaks.cached() is None
    first = peaks.sheet()
    measured["bandwidth"] = 1.0
    assert peaks.sheet() == peaks.cached() == first
    assert measured["asked"] == list(RATES)
    # One file, and nothing half-written beside it.
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [peaks.cache_path()]
    assert peaks.cache_path().parent == tmp_path / "pytest-dsbench"


@pytest.mark.parametrize(("bandwidth", "rate", "again"), [(12e9, 4e9, True), (10e9, 5e9, True), (10.1e9, 4.1e9, False)])
def test_a_roof_that_a_glance_beats_is_measured_again(
    measured: dict[str, Any], bandwidth: float, rate: float, again: bool
) -> None:
    peaks.sheet()
    measured["bandwidth"], measured["rates"]["fp32"] = bandwidth, rate
    found = peaks.sheet()
    assert (found.bandwidth, found.peak["fp32"]) == ((bandwidth, rate) if again else (10e9, 4e9))
    assert peaks.cached() == found


def test_the_better_of_two_measurements_is_kept(measured: dict[str, Any]) -> None:
    first = peaks.measure()
    measured["rates"].update(bf16=9e9, fp64=0.5e9)
    measured["bandwidth"] = 5e9
    second = peaks.measure(first)
    assert second.bandwidth == 10e9
    assert (second.peak["fp64"], second.peak["bf16"], second.peak["fp32"]) == (1e9, 9e9, 4e9)
    assert peaks.cached() == second
    measured["bandwidth"] = 20e9
    assert peaks.measure(second).bandwidth == 20e9
    # Measuring anew forgets what was better.
    measured["bandwidth"] = 5e9
    assert peaks.measure().bandwidth == 5e9


def test_a_peak_that_only_the_older_sheet_has_is_kept(measured: dict[str, Any]) -> None:
    first = peaks.measure()
    measured["rates"]["int8"] = 0.0
    assert peaks.measure(first).peak["int8"] == 8e9


@pytest.mark.parametrize("content", [b"", b"{", b"null", b"[]", b'{"name": "cpu"}', b"\xff\xfe", b'{"title": "\xff"}', None])
def test_a_spoilt_cache_is_measured_again(measured: dict[str, Any], content: bytes | None) -> None:
    path = peaks.cache_path()
    good = peaks.measure()
    text = path.read_bytes()
    path.write_bytes(text[: len(text) // 2] if content is None else content)
    assert peaks.cached() is None
    assert peaks.sheet() == good == peaks.cached()


def test_a_key_that_a_later_version_added(measured: dict[str, Any]) -> None:
    peaks.measure()
    path = peaks.cache_path()
    path.write_bytes(path.read_bytes().replace(b'"name"', b'"zz":1,"name"', 1))
    assert peaks.cached() is None


def test_where_nothing_can_be_kept_it_is_measured_every_time(measured: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "pytest-dsbench").write_text("a file where the folder should be")
    assert peaks.cached() is None
    assert peaks.sheet() == peaks.sheet()
    assert measured["asked"] == list(RATES) * 2


def test_a_file_per_machine_and_threads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    paths = [peaks.cache_path()]
    with monkeypatch.context() as patch:
        patch.setattr(peaks, "cores", lambda: 999)
        paths.append(peaks.cache_path())
    with monkeypatch.context() as patch:
        patch.setattr(peaks.torch, "get_num_threads", lambda: 999)
        paths.append(peaks.cache_path())
    with monkeypatch.context() as patch:
        patch.setattr(peaks.torch, "__version__", "0.0")
        paths.append(peaks.cache_path())
    with monkeypatch.context() as patch:
        device = peaks.cpu()
        patch.setattr(peaks, "cpu", lambda: device.replace(name="another"))
        paths.append(peaks.cache_path())
    assert len(set(paths)) == 5 and peaks.cache_path() == paths[0]
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert peaks.cache_path().parent == tmp_path / "home" / ".cache" / "pytest-dsbench"


@pytest.mark.parametrize("unit", ["fp64", "fp32", "fp16", "bf16", "fp8", "int8"])
def test_operands_multiply(unit: Any) -> None:
    """The real product of every unit, small: either torch has it, or it says so in a way that counts as none."""
    try:
        product = peaks._operands(unit, 32)()
    except (RuntimeError, NotImplementedError, AttributeError):
        assert unit in ("fp8", "int8", "fp16")
        return
    assert isinstance(product, torch.Tensor) and product.shape == (32, 32)


def test_a_product_that_torch_lacks_has_no_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(unit: str, size: int) -> Any:
        raise NotImplementedError

    monkeypatch.setattr(peaks, "_operands", refuse)
    assert peaks._matmul_rate("bf16") == 0.0


def test_the_best_size_counts_and_slow_ones_end_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []
    times = {192: 1e-3, 512: 1e-2, 1024: 0.05, 2048: 1e-9}

    def operands(unit: str, size: int) -> Any:
        tried.append(size)
        return size

    monkeypatch.setattr(peaks, "_operands", operands)
    monkeypatch.setattr(peaks, "_best", lambda size, seconds: times[size])
    assert peaks._matmul_rate("bf16") == 2 * 1024**3 / 0.05
    assert tried == [192, 512, 1024]


def test_the_best_of_at_least_three_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([0.0, 1.0, 6.0, 7.0, 9.0, 10.0, 14.0, 15.0])
    monkeypatch.setattr(peaks, "_now", lambda: next(moments))
    calls: list[int] = []
    # Three calls of 5, 2 and 4 s; the limit of 1 s was passed during the first.
    assert peaks._best(lambda: calls.append(1), 1.0) == 2.0
    assert len(calls) == 3


def test_this_machine_has_a_cache_and_cores() -> None:
    assert peaks.last_level_cache() >= 2**15 and peaks.cores() >= 1
    assert isinstance(peaks.cached(), Hardware | None)
