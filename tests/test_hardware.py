"""Data sheets, detection and derived sheets."""

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from pytest_dsbench.hardware import Hardware, load, named, sheets
from pytest_dsbench.hardware.derive import FLOP_PER_CLOCK, derive
from pytest_dsbench.hardware.detect import match, resolve
from pytest_dsbench.hardware.device import Device, cpu, device, fp8_encoding, from_properties, has_gpu
from pytest_dsbench.mistake import Mistake
from pytest_dsbench.units import UNITS, Unit

NAMES = ["a100", "b200", "gb200", "gb200_nvl72", "h100_sxm", "h20", "h200", "h800", "l20", "l40s", "xpu_a"]
TERA = 1e12


# -- the sheets ---------------------------------------------------------------------------------------------------------------


def test_the_sheets_that_ship() -> None:
    assert sorted(sheets()) == NAMES
    assert all(name == sheet.name and not sheet.derived for name, sheet in sheets().items())


#: From the task and from work_formulas: TFLOP/s, TB/s. Typed a second time, so that a slip in a sheet shows.
STATED: dict[str, tuple[dict[Unit, float], float]] = {
    "h20": ({"bf16": 148, "fp16": 148, "fp8": 296, "tf32": 74, "fp32": 44}, 4.0),
    "h800": ({"bf16": 989.5, "fp16": 989.5, "fp8": 1979, "tf32": 494.7, "fp32": 67}, 3.35),
    "h100_sxm": ({"bf16": 989.5, "fp16": 989.5, "fp8": 1979, "tf32": 494.7, "fp32": 67}, 3.35),
    "h200": ({"bf16": 989.5, "fp16": 989.5, "fp8": 1979, "tf32": 494.7, "fp32": 67}, 4.8),
    "gb200": ({"fp4": 9000, "fp8": 4500, "bf16": 2250, "fp16": 2250}, 8.0),
    "gb200_nvl72": ({"fp4": 10000, "fp8": 5000, "bf16": 2500}, 8.0),
    "b200": ({"fp4": 9000, "fp8": 4500, "bf16": 2250}, 7.7),
    "a100": ({"bf16": 312, "fp16": 312, "int8": 624, "tf32": 156, "fp32": 19.5}, 2.0),
    "l20": ({"bf16": 119.5, "fp16": 119.5, "fp8": 239}, 0.864),
    "l40s": ({"bf16": 362, "fp16": 362, "fp8": 733}, 0.864),
    "xpu_a": ({"bf16": 232.65, "fp16": 232.65, "fp8": 465.3, "fp32": 29.1}, 5.3),
}


@pytest.mark.parametrize("name", NAMES)
def test_stated_figures(name: str) -> None:
    peaks, bandwidth = STATED[name]
    sheet = named(name)
    assert {unit: sheet.rate(unit) for unit in peaks} == pytest.approx({unit: tera * TERA for unit, tera in peaks.items()})
    assert sheet.bandwidth == pytest.approx(bandwidth * TERA)


@pytest.mark.parametrize("name", NAMES)
def test_dense_rates_keep_their_proportions(name: str) -> None:
    """Half the bits, twice the rate: a figure with sparsity among dense ones breaks this."""
    peak = named(name).peak
    assert peak["bf16"] == peak["fp16"]
    for narrow, wide in (("fp8", "bf16"), ("int8", "bf16"), ("bf16", "tf32"), ("fp4", "fp8")):
        if narrow in peak and wide in peak:
            assert peak[narrow] / peak[wide] == pytest.approx(2, rel=0.03)  # type: ignore[index]


def test_how_many_gpus_a_link_joins() -> None:
    """Eight on a board or in a server, 72 in the rack; what the vendor does not publish is absent."""
    assert {name: sheet.link_gpus for name, sheet in sheets().items() if sheet.link_gpus != 8} == {
        "gb200": 72,
        "gb200_nvl72": 72,
        "xpu_a": None,
    }
    assert all((sheet.link is None) == (sheet.link_gpus is None) for sheet in sheets().values())


def test_ridge_points_of_gb200() -> None:
    gb200 = named("gb200")
    assert [gb200.ridge(unit) for unit in ("fp4", "fp8", "bf16")] == pytest.approx([1125, 562.5, 281.25])


ABSENT = [(name, unit) for name, sheet in sheets().items() for unit in UNITS if unit not in sheet.peak]


@pytest.mark.parametrize(("name", "unit"), ABSENT)
def test_an_absent_unit_is_never_guessed(name: str, unit: Unit) -> None:
    sheet = named(name)
    with pytest.raises(Mistake) as caught:
        sheet.rate(unit)
    assert name in str(caught.value)
    assert sheet.title in str(caught.value)
    assert f"has no {unit} peak" in str(caught.value)


def test_units_that_these_gpus_lack() -> None:
    """fp8 came with Ada and Hopper, fp4 with Blackwell; Ada has no fp64 matrix unit, H20's and XPU-A's are not published."""
    assert ("a100", "fp8") in ABSENT
    assert {name for name, unit in ABSENT if unit == "fp4"} == set(NAMES) - {"b200", "gb200", "gb200_nvl72"}
    assert {name for name, unit in ABSENT if unit == "fp64"} == {"h20", "l20", "l40s", "xpu_a"}
    assert not [name for name, unit in ABSENT if unit == "fp32"]


def test_docs_show_the_sheets_as_they_are() -> None:
    text = (Path(__file__).parents[1] / "docs" / "hardware.md").read_text(encoding="utf-8")
    for name, sheet in sheets().items():
        ridges = (f"{sheet.ridge(unit):.4g}" if unit in sheet.peak else "-" for unit in ("fp4", "fp8", "bf16", "fp32"))
        row = f"| {name} | {sheet.bandwidth / TERA:.4g} | {' | '.join(ridges)} |"
        assert row in text


# -- a name ---------------------------------------------------------------------------------------------------------------------


def test_unknown_gpu() -> None:
    with pytest.raises(Mistake) as caught:
        named("h201")
    assert str(caught.value) == (
        "unknown GPU 'h201'; did you mean 'h200'? "
        "known: a100, b200, gb200, gb200_nvl72, h100_sxm, h20, h200, h800, l20, l40s, xpu_a, or the path of a .toml sheet"
    )


@pytest.mark.parametrize(
    ("word", "meant"), [("h100", "h100_sxm"), ("H200", "h200"), ("gb20", "gb200"), ("h20o", "h200"), ("l40", "l40s")]
)
def test_nearest_gpu(word: str, meant: str) -> None:
    with pytest.raises(Mistake, match=f"unknown GPU '{word}'; did you mean '{meant}'"):
        named(word)


def test_a_word_like_nothing_gets_no_hint() -> None:
    with pytest.raises(Mistake, match=r"^unknown GPU 'mainframe'; known: a100, "):
        named("mainframe")


# -- a file ---------------------------------------------------------------------------------------------------------------------

GOOD = """\
# ours
title = "Ours"
match = ["NVIDIA Ours"]
bandwidth = "1.5 TB/s"
memory = "64 GB"
sms = 100
source = "us"

[peak]
bf16 = "500 TFLOP/s"
fp32 = "40 TFLOP/s"

[driver]
capability = "9.0"
boost = "1.83 GHz"
memory_clock = "2619 MHz"
memory_bus = "5120 bit"
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "ours.toml"
    path.write_text(text, encoding="utf-8")
    return path


def complaint(path: Path) -> str:
    with pytest.raises(Mistake) as caught:
        load(path)
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


def test_a_good_sheet(tmp_path: Path) -> None:
    sheet = named(str(write(tmp_path, GOOD)))
    assert (sheet.name, sheet.title, sheet.match, sheet.sms) == ("ours", "Ours", ("NVIDIA Ours",), 100)
    assert sheet.peak == {"bf16": 500e12, "fp32": 40e12}
    assert (sheet.bandwidth, sheet.memory) == (1.5e12, 64e9)
    assert sheet.driver is not None
    assert (sheet.driver.boost, sheet.driver.memory_bus) == (1.83e9, 5120)


def test_a_short_sheet(tmp_path: Path) -> None:
    text = 'bandwidth = "1 TB/s"\nmemory = "64 GiB"\nsource = "us"\npeak = { bf16 = "5 TFLOP/s" }\n'
    assert load(write(tmp_path, text)) == Hardware(
        name="ours", title="ours", bandwidth=1e12, memory=2.0**36, source="us", peak={"bf16": 5e12}
    )


BAD = {
    "unknown key": ('sms = 100', 'smss = 100', 6, "unknown key 'smss'; did you mean 'sms'? known: bandwidth, driver, "),
    "name is the file's": ('sms = 100', 'name = "x"', 6, "unknown key 'name'; "),
    "unknown key of a table": ('boost = "1.83 GHz"', 'boots = "1.83 GHz"', 15, "unknown key of [driver] 'boots'; did you mean"),
    "unknown unit": ('bf16 = "500', 'bf61 = "500', 10, "unknown unit 'bf61'; did you mean 'bf16'? known: bf16, fp16, fp32, "),
    "no bandwidth": ('bandwidth = "1.5 TB/s"', "", 1, "bandwidth is missing; a sheet needs bandwidth, source, peak"),
    "wrong kind": ('sms = 100', 'sms = 100\nkind = "tpu"', 7, "kind is 'tpu'; expected 'gpu' or 'cpu'"),
    "no source": ('source = "us"', "", 1, "source is missing"),
    "empty source": ('source = "us"', 'source = " "', 7, "source is ' '; expected words in quotes"),
    "no driver fact": ('boost = "1.83 GHz"\n', "", 13, "boost of [driver] is missing; a sheet needs capability, boost, "),
    "negative": ('"500 TFLOP/s"', '"-500 TFLOP/s"', 10, "bf16 is '-500 TFLOP/s'; expected a finite number above zero"),
    "zero": ('"1.5 TB/s"', '"0 TB/s"', 4, "bandwidth is '0 TB/s'; expected a finite number above zero"),
    "too small": ('"1.5 TB/s"', '"1e-400 TB/s"', 4, "bandwidth is '1e-400 TB/s'; expected a finite number above zero"),
    "too large": ('"1.5 TB/s"', '"1e400 TB/s"', 4, "bandwidth is '1e400 TB/s'; expected a finite number above zero"),
    "wrong unit": ('"1.5 TB/s"', '"1.5 TB"', 4, "bandwidth: '1.5 TB' has the unit 'TB'; expected a number and a unit in B/s"),
    "memory in B/s": ('"64 GB"', '"64 GB/s"', 5, "memory: '64 GB/s' has the unit 'GB/s'; expected a number and a unit in B"),
    "peak in B/s": ('"40 TFLOP/s"', '"40 TB/s"', 11, "fp32: '40 TB/s' has the unit 'TB/s'; expected a number and a unit in FLOP"),
    "no unit": ('"1.5 TB/s"', '"1.5"', 4, "bandwidth: '1.5' is not a quantity; expected"),
    "no number": ('"500 TFLOP/s"', '""', 10, "bf16: '' is not a quantity; expected"),
    "bare number": ('"1.5 TB/s"', "1.5e12", 4, "bandwidth is 1500000000000.0; expected a number and its unit in B/s, in quotes"),
    "infinite": ('"1.5 TB/s"', "inf", 4, "bandwidth is inf; expected"),
    "infinite in quotes": ('"1.5 TB/s"', '"inf TB/s"', 4, "bandwidth: 'inf TB/s' is not a quantity; expected"),
    "not a number": ('"40 TFLOP/s"', "nan", 11, "fp32 is nan; expected"),
    "not a number in quotes": ('"40 TFLOP/s"', '"nan TFLOP/s"', 11, "fp32: 'nan TFLOP/s' is not a quantity; expected"),
    "sms in quotes": ("sms = 100", 'sms = "100"', 6, "sms is '100'; expected a whole number above zero"),
    "sms true": ("sms = 100", "sms = true", 6, "sms is True; expected a whole number above zero"),
    "link_gpus half": ("sms = 100", "link_gpus = 7.5", 6, "link_gpus is 7.5; expected a whole number above zero"),
    "link_gpus zero": ("sms = 100", "link_gpus = 0", 6, "link_gpus is 0; expected a whole number above zero"),
    "sms negative": ("sms = 100", "sms = -100", 6, "sms is -100; expected a whole number above zero"),
    "one name": ('["NVIDIA Ours"]', '"NVIDIA Ours"', 3, "match is 'NVIDIA Ours'; expected a list of the driver's device names"),
    "title not words": ('"Ours"\n', "7\n", 2, "title is 7; expected words in quotes"),
    "capability a number": ('"9.0"', "9.0", 14, "capability is 9.0; expected words in quotes"),
    "capability of one number": ('"9.0"', '"9"', 14, "capability is '9'; expected major.minor, such as '9.0'"),
    "half a bit": ('"5120 bit"', '"5120.5 bit"', 17, "memory_bus is '5120.5 bit'; expected a whole number of bits"),
    "null": ('bf16 = "500 TFLOP/s"', "bf16 = null", 10, "not TOML: Invalid value"),
    "not TOML": ("sms = 100", "sms 100", 6, "not TOML: Expected '=' after a key in a key/value pair"),
    "twice": ("sms = 100", 'memory = "64 GB"', 6, "not TOML: Cannot overwrite a value"),
}  # fmt: skip


@pytest.mark.parametrize(("before", "after", "line", "says"), BAD.values(), ids=BAD.keys())
def test_bad_sheet(tmp_path: Path, before: str, after: str, line: int, says: str) -> None:
    assert before in GOOD
    path = write(tmp_path, GOOD.replace(before, after, 1))
    assert complaint(path).startswith(f"{path}:{line}: {says}")


TOP = 'source = "us"\nmemory = "64 GB"\nbandwidth = "1.5 TB/s"\n'
BAD_PEAK = {
    "missing": ("", 1, "peak is missing"),
    "empty": ("\n[peak]\n", 5, "[peak] is empty; expected at least one of fp64, fp32, "),
    "empty inline": ("peak = {}", 4, "[peak] is empty"),
    "words": ('peak = "989 TFLOP/s"', 4, "peak is '989 TFLOP/s'; expected a table [peak]"),
    "list": ("peak = []", 4, "peak is []; expected a table [peak]"),
    "dotted": ('peak.bf16 = "1 TFLOP/s"\npeak.fp32 = "1 TB/s"', 5, "fp32: '1 TB/s' has the unit"),
    "quoted": ('["peak"]\n"bf16" = 1', 5, "bf16 is 1; expected a number and its unit in FLOP/s"),
    "driver is no table": ('driver = 9.0\npeak.bf16 = "1 TFLOP/s"', 4, "driver is 9.0; expected a table [driver]"),
    "words that look like a key": ('title = """\nsms = 1\n"""\nsms = 1.5\npeak.bf16 = "1 TFLOP/s"', 7, "sms is 1.5; expected"),
    "many lines": ('match = [\n  "NVIDIA Ours",\n  7,\n]\npeak.bf16 = "1 TFLOP/s"', 4, "match is ['NVIDIA Ours', 7]"),
    "open at the end": ('title = """\nnever closed\n', 5, "not TOML: "),
}  # fmt: skip


@pytest.mark.parametrize(("rest", "line", "says"), BAD_PEAK.values(), ids=BAD_PEAK.keys())
def test_bad_sheet_by_layout(tmp_path: Path, rest: str, line: int, says: str) -> None:
    path = write(tmp_path, TOP + rest)
    assert complaint(path).startswith(f"{path}:{line}: {says}")


def test_windows_line_ends_keep_the_line(tmp_path: Path) -> None:
    path = tmp_path / "ours.toml"
    path.write_bytes(GOOD.replace("sms = 100", "sms = 0").replace("\n", "\r\n").encode())
    assert complaint(path).startswith(f"{path}:6: sms is 0")


def test_not_text(tmp_path: Path) -> None:
    path = tmp_path / "ours.toml"
    path.write_bytes(b'title = "ok"\nsource = "\xff"\n')
    assert complaint(path) == f"{path}:2: not UTF-8 text"


def test_no_such_file(tmp_path: Path) -> None:
    path = tmp_path / "nowhere.toml"
    with pytest.raises(Mistake) as caught:
        named(str(path))
    assert str(caught.value) == f"cannot read the data sheet {path}: No such file or directory"


# -- detection ------------------------------------------------------------------------------------------------------------------

#: As torch reports them: name, SMs, MiB of memory, capability, SM clock MHz, memory clock MHz, bus bits.
SEEN = {
    "h20": ("NVIDIA H20", 78, 97285, "9.0", 1980, 2619, 6144),
    "h200": ("NVIDIA H200", 132, 143156, "9.0", 1980, 3201, 6144),
    "h100_sxm": ("NVIDIA H100 80GB HBM3", 132, 81090, "9.0", 1980, 2619, 5120),
    "h800": ("NVIDIA H800", 132, 81090, "9.0", 1980, 2619, 5120),
    "a100": ("NVIDIA A100-SXM4-80GB", 108, 81051, "8.0", 1410, 1593, 5120),
    "b200": ("NVIDIA B200", 148, 182642, "10.0", 1965, 3996, 7680),
    "gb200": ("NVIDIA GB200", 152, 189471, "10.0", 2062, 3996, 7936),
    "l20": ("NVIDIA L20", 92, 45589, "8.9", 2520, 9001, 384),
    "l40s": ("NVIDIA L40S", 142, 45589, "8.9", 2520, 9001, 384),
}  # fmt: skip


def gpu(name: str, sms: int, mib: int, capability: str, boost: float, memory_clock: float, bus: int) -> Device:
    return Device(
        kind="cuda", name=name, vendor="nvidia", memory=mib * 2**20, sms=sms, capability=capability,
        boost=boost * 1e6, memory_clock=memory_clock * 1e6, memory_bus=bus,
    )  # fmt: skip


SEEN_DEVICES = {name: gpu(*row) for name, row in SEEN.items()}
H200 = SEEN_DEVICES["h200"]
CPU = Device(kind="cpu", name="AMD EPYC 9654", memory=2**35, sms=96)
MI308X = Device(kind="cuda", name="AMD Instinct MI308X", vendor="amd", memory=192 * 2**30, sms=80, capability="9.4")


@pytest.mark.parametrize("name", SEEN)
def test_each_gpu_is_detected_as_itself(name: str) -> None:
    assert match(SEEN_DEVICES[name], sheets()).name == name


def test_every_sheet_but_two_can_be_detected() -> None:
    assert set(NAMES) - set(SEEN) == {"gb200_nvl72", "xpu_a"}


def test_case_of_the_name_does_not_matter() -> None:
    assert match(H200.replace(name="nvidia h200"), sheets()).name == "h200"


#: Real devices whose names or sizes are near to a sheet's; none of them may be taken for it.
NEIGHBOURS = {
    "H20-3e has H200's memory": ("NVIDIA H20-3e", 78, 143771, "9.0", 1980, 3201, 6144),
    "H100 PCIe": ("NVIDIA H100 PCIe", 114, 81090, "9.0", 1755, 1593, 5120),
    "H100 NVL": ("NVIDIA H100 NVL", 132, 95319, "9.0", 1785, 2619, 6144),
    "H200 NVL": ("NVIDIA H200 NVL", 132, 143156, "9.0", 1785, 3201, 6144),
    "H800 PCIe": ("NVIDIA H800 PCIe", 114, 81090, "9.0", 1755, 1593, 5120),
    "A100 40 GB": ("NVIDIA A100-SXM4-40GB", 108, 40339, "8.0", 1410, 1215, 5120),
    "A100 PCIe 80 GB": ("NVIDIA A100 80GB PCIe", 108, 81051, "8.0", 1410, 1512, 5120),
    "L20D is a Blackwell": ("NVIDIA L20D", 148, 281000, "10.3", 1920, 3996, 8192),
    "L40": ("NVIDIA L40", 142, 45589, "8.9", 2490, 9001, 384),
    "a name in a name": ("NVIDIA GB200 NVL4", 152, 189471, "10.0", 2062, 3996, 7936),
    "H200's name, fewer SMs": ("NVIDIA H200", 16, 143156, "9.0", 1980, 3201, 6144),
    "H200's name, one SM less": ("NVIDIA H200", 131, 143156, "9.0", 1980, 3201, 6144),
    "H200's name, H20's memory": ("NVIDIA H200", 132, 97285, "9.0", 1980, 3201, 6144),
    "H20's name, H20-3e's memory": ("NVIDIA H20", 78, 143771, "9.0", 1980, 3201, 6144),
    "A100's name, 40 GB": ("NVIDIA A100-SXM4-80GB", 108, 40339, "8.0", 1410, 1215, 5120),
}  # fmt: skip


@pytest.mark.parametrize("row", NEIGHBOURS.values(), ids=NEIGHBOURS.keys())
def test_a_neighbour_is_not_taken_for_a_sheet(row: tuple[Any, ...]) -> None:
    neighbour = gpu(*row)
    found = match(neighbour, sheets())
    assert found.derived
    assert found.name not in sheets()
    assert (found.sms, found.memory) == (neighbour.sms, neighbour.memory)


@pytest.mark.parametrize(("share", "taken"), [(0.901, True), (0.899, False), (1.099, True), (1.101, False)])
def test_memory_within_ten_percent(share: float, taken: bool) -> None:
    assert match(H200.replace(memory=round(141e9 * share)), sheets()).derived is not taken


def test_a_sheet_without_an_sm_count_takes_any(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD.replace("sms = 100\n", ""))
    ours = H200.replace(name="NVIDIA Ours", memory=64 * 10**9)
    assert match(ours, {"ours": load(path)}).name == "ours"


def test_gb200_is_detected_and_nvl72_is_asked_for() -> None:
    gb200 = SEEN_DEVICES["gb200"]
    for order in (sheets(), dict(reversed(sheets().items()))):
        assert match(gb200, order).name == "gb200"
    assert resolve("gb200_nvl72", gb200).name == "gb200_nvl72"


def test_only_a_variant_of_a_sheet_shares_its_device_name() -> None:
    owners: dict[str, list[str]] = {}
    for name, sheet in sheets().items():
        for driver_name in sheet.match:
            owners.setdefault(driver_name.casefold(), []).append(name)
    assert [names for names in owners.values() if len(names) > 1] == [["gb200", "gb200_nvl72"]]


def test_another_vendor_is_never_guessed() -> None:
    with pytest.raises(Mistake) as caught:
        match(MI308X, sheets())
    assert str(caught.value) == (
        "no data sheet fits AMD Instinct MI308X (80 SMs, 206 GB), and one can be derived for NVIDIA's GPUs only; "
        "--dsbench-hw=path/to/sheet.toml takes a sheet of your own"
    )
    with pytest.raises(Mistake, match="NVIDIA's GPUs only"):
        match(MI308X.replace(name="Iluvatar BI-V150", vendor="unknown"), sheets())


# -- resolve --------------------------------------------------------------------------------------------------------------------


def refusal(option: str | None, device: Device) -> str:
    with pytest.raises(Mistake) as caught:
        resolve(option, device)
    return str(caught.value)


def test_resolve_takes_what_fits(tmp_path: Path) -> None:
    assert resolve(None, H200).name == "h200"
    assert resolve("h200", H200).name == "h200"
    ours = write(
        tmp_path, GOOD.replace('["NVIDIA Ours"]', '["NVIDIA H200"]').replace("64 GB", "141 GB").replace("100\n", "132\n")
    )
    assert resolve(str(ours), H200).name == "ours"


def test_resolve_takes_a_sheet_without_match_at_its_word(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD.replace('match = ["NVIDIA Ours"]\n', ""))
    assert resolve(str(path), H200).name == "ours"
    assert resolve(str(path), MI308X).name == "ours"


def test_resolve_refuses_another_gpu() -> None:
    assert refusal("gb200", H200) == (
        "--dsbench-hw=gb200 asks for NVIDIA GB200, but the device here is NVIDIA H200 (132 SMs, 150 GB); "
        "to see bounds without the device use --dsbench-plan"
    )


def test_resolve_refuses_a_sheet_of_ones_own_that_names_another_gpu(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    assert refusal(str(path), H200).startswith(f"--dsbench-hw={path} asks for NVIDIA Ours, but the device here is NVIDIA H200 (")


def test_resolve_refuses_a_slice_and_says_how_it_differs() -> None:
    assert refusal("h200", H200.replace(sms=16, memory=18 * 10**9)).startswith(
        "--dsbench-hw=h200 asks for NVIDIA H200 (132 SMs, 141 GB), but the device here is NVIDIA H200 (16 SMs, 18.0 GB); "
    )


def test_resolve_refuses_xpu_a_on_any_device() -> None:
    """Its driver name is not published, so no device can be told to be it."""
    assert refusal("xpu_a", MI308X).startswith(
        "--dsbench-hw=xpu_a asks for XPU-A (CDNA3-class accelerator), but the device here is AMD Instinct MI308X ("
    )


def test_resolve_without_a_gpu(tmp_path: Path) -> None:
    assert refusal("gb200", CPU) == (
        "--dsbench-hw=gb200 asks for NVIDIA GB200, but this machine has no GPU, "
        "its device is the CPU AMD EPYC 9654 (96 cores, 34.4 GB); to see bounds without the device use --dsbench-plan"
    )
    assert refusal(None, CPU).startswith("this machine has no GPU, its device is the CPU AMD EPYC 9654 (96 cores, 34.4 GB); ")
    without_match = write(tmp_path, GOOD.replace('match = ["NVIDIA Ours"]\n', ""))
    assert "this machine has no GPU" in refusal(str(without_match), CPU)


def test_resolve_names_an_unknown_gpu() -> None:
    assert refusal("h201", H200).startswith("unknown GPU 'h201'; did you mean 'h200'?")


# -- derived sheets -------------------------------------------------------------------------------------------------------------

#: Sheet, why, and what is derived more than 5 % away from the vendor's figure. Each has to be needed.
REASONS: list[tuple[str, str, list[str]]] = [
    ("h100_sxm", "rated at the 1.98 GHz of the vector unit, the sheet states the 1.83 GHz of the matrix units", ["fp32", "fp64"]),
    ("h200", "rated at the 1.98 GHz of the vector unit, the sheet states the 1.83 GHz of the matrix units", ["fp32", "fp64"]),
    ("h800", "rated at the 1.98 GHz of the vector unit, the sheet states the 1.83 GHz of the matrix units", ["fp32"]),
    ("h800", "cut for export", ["fp64"]),
    ("h20", "matrix units cut to a quarter or less, for export", ["bf16", "fp16", "fp8", "int8", "tf32"]),
    ("h20", "the published 44 TFLOP/s assume a clock above the 1.98 GHz that the driver allows", ["fp32"]),
    ("l20", "matrix units cut to half of Ada's rate, for export", ["bf16", "fp16", "fp8", "int8", "tf32"]),
    ("b200", "rated below the boost clock", ["fp4", "fp8", "int8", "bf16", "fp16", "tf32"]),
    ("gb200", "given the rating of a B200 of 1000 W", ["fp4", "fp8", "int8", "bf16", "fp16", "tf32"]),
]
EXCEPTIONS = {(name, what): why for name, why, whats in REASONS for what in whats}

WITH_FACTS = [sheet for sheet in sheets().values() if sheet.driver is not None]


def as_device(sheet: Hardware) -> Device:
    assert sheet.driver is not None
    assert sheet.sms is not None
    return Device(
        kind="cuda", name="NVIDIA Unheard-of", vendor="nvidia", memory=round(sheet.memory), sms=sheet.sms,
        capability=sheet.driver.capability, boost=sheet.driver.boost,
        memory_clock=sheet.driver.memory_clock, memory_bus=sheet.driver.memory_bus,
    )  # fmt: skip


def figures(sheet: Hardware) -> dict[str, float]:
    return {**sheet.peak, "bandwidth": sheet.bandwidth}


def test_every_nvidia_sheet_has_driver_facts() -> None:
    assert [sheet.name for sheet in WITH_FACTS] == [name for name in NAMES if name != "xpu_a"]


@pytest.mark.parametrize("sheet", WITH_FACTS, ids=lambda sheet: sheet.name)
def test_derived_arithmetic_against_the_sheet(sheet: Hardware) -> None:
    derived = figures(derive(as_device(sheet)))
    stated = figures(sheet)
    assert set(stated) <= set(derived)
    far = {(sheet.name, what) for what in stated if abs(derived[what] / stated[what] - 1) > 0.05}
    assert far == {key for key in EXCEPTIONS if key[0] == sheet.name}


@pytest.mark.parametrize("name", SEEN)
def test_a_sheet_derived_from_the_live_driver_is_a_ceiling(name: str) -> None:
    """What would have been derived for these GPUs: at least the vendor's figure, and at most 17 % above where nothing is cut."""
    derived, stated = figures(derive(SEEN_DEVICES[name])), figures(named(name))
    for what in stated:
        if (name, what) == ("h20", "fp32"):
            continue  # see EXCEPTIONS
        ratio = derived[what] / stated[what]
        assert ratio > 0.99
        cut = "cut" in EXCEPTIONS.get((name, what), "")
        assert (ratio < 1.17) is not cut


#: Published dense figures of GPUs that have no sheet, TFLOP/s and GB/s: the check of the rates that no sheet covers.
PUBLISHED: dict[str, tuple[tuple[Any, ...], dict[str, float]]] = {
    "Tesla V100-SXM2-16GB": ((80, 16160, "7.0", 1530, 877, 4096), {"fp16": 125, "fp32": 15.7, "bandwidth": 0.900}),
    "Tesla T4": ((40, 15360, "7.5", 1590, 5001, 256), {"fp16": 65, "int8": 130, "fp32": 8.1, "bandwidth": 0.320}),
    "NVIDIA A10": ((72, 23028, "8.6", 1695, 6251, 384), {"bf16": 125, "tf32": 62.5, "int8": 250, "fp32": 31.2, "bandwidth": 0.6}),
    "NVIDIA GeForce RTX 3090": (
        (82, 24576, "8.6", 1695, 9751, 384),
        {"fp16": 142, "bf16": 71, "tf32": 35.6, "fp32": 35.6, "int8": 284, "bandwidth": 0.936},
    ),
    "NVIDIA GeForce RTX 4090": (
        (128, 24564, "8.9", 2520, 10501, 384),
        {"fp16": 330.3, "bf16": 165.2, "tf32": 82.6, "fp32": 82.6, "fp8": 660.6, "int8": 660.6, "bandwidth": 1.008},
    ),
    "NVIDIA GeForce RTX 5090": (
        (170, 32607, "12.0", 2407, 14001, 512),
        {"fp4": 1676, "fp8": 838, "fp16": 419, "bf16": 209.5, "tf32": 104.8, "fp32": 104.8, "int8": 838, "bandwidth": 1.792},
    ),
    "NVIDIA RTX PRO 6000 Blackwell Workstation Edition": (
        (188, 97887, "12.0", 2617, 14001, 512),
        {"fp4": 2015, "bf16": 503.8, "fp32": 126, "bandwidth": 1.792},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_derived_against_published_figures(name: str) -> None:
    row, published = PUBLISHED[name]
    derived = figures(match(gpu(name, *row), sheets()))
    assert {what: derived[what] for what in published} == pytest.approx(
        {what: n * TERA for what, n in published.items()}, rel=0.02
    )


def test_every_capability_of_the_table_is_checked_but_blackwell_ultra() -> None:
    checked = {sheet.driver.capability for sheet in WITH_FACTS if sheet.driver} | {row[2] for row, _ in PUBLISHED.values()}
    assert set(FLOP_PER_CLOCK) - checked == {"10.3"}
    # Of Blackwell Ultra NVIDIA says: fp4 at three times fp8, the rest of the matrix units as Blackwell's.
    ultra = FLOP_PER_CLOCK["10.3"]
    assert ultra["fp4"] == 3 * ultra["fp8"]
    assert {unit: rate for unit, rate in ultra.items() if unit != "fp4"}.items() < FLOP_PER_CLOCK["10.0"].items()


def test_a_derived_sheet_says_so() -> None:
    row, _ = PUBLISHED["NVIDIA GeForce RTX 4090"]
    derived = match(gpu("NVIDIA GeForce RTX 4090", *row), sheets())
    assert derived.derived
    assert derived.name == "derived_geforce_rtx_4090"
    assert derived.source == (
        "derived from the driver: 128 SMs at 2.52 GHz of compute capability 8.9, memory at 10.5 GHz on 384 bit; "
        "for a real sheet copy hardware/h200.toml, put in the vendor's dense numbers, "
        "and pass it as --dsbench-hw=path/to/sheet.toml or send it to the project"
    )


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"capability": "6.1"}, "compute capability 6.1 is not one of 7.0, 7.5, 8.0, 8.6, 8.9, 9.0, 10.0, 10.3, 12.0; "),
        ({"boost": None, "memory_bus": None}, "the driver does not tell its boost, memory bus "),
        ({"name": "NVIDIA H200 MIG 1g.18gb"}, "is a MIG slice, and the driver does not say how much memory bandwidth it has; "),
    ],
)
def test_what_cannot_be_derived(changes: dict[str, Any], says: str) -> None:
    unheard_of = H200.replace(**{"name": "NVIDIA Unheard-of", **changes})
    with pytest.raises(Mistake) as caught:
        match(unheard_of, sheets())
    assert str(unheard_of) in str(caught.value)
    assert says in str(caught.value)
    assert str(caught.value).endswith("; --dsbench-hw=path/to/sheet.toml takes a sheet of your own")


# -- the device -----------------------------------------------------------------------------------------------------------------


def properties(**changes: Any) -> SimpleNamespace:
    values: dict[str, Any] = {
        "name": "NVIDIA H200", "total_memory": 143156 * 2**20, "multi_processor_count": 132, "major": 9, "minor": 0,
        "uuid": "91a535d7-4157-249a-65e5-73883afa626e", "L2_cache_size": 60 * 2**20,
        "clock_rate": 1980000, "memory_clock_rate": 3201000, "memory_bus_width": 6144,
    }  # fmt: skip
    return SimpleNamespace(**{name: value for name, value in {**values, **changes}.items() if value is not None})


def test_device_from_torch() -> None:
    found = from_properties(properties(), 3, hip=False)
    assert found == H200.replace(index=3, uuid="91a535d7-4157-249a-65e5-73883afa626e", l2=60 * 2**20)
    assert str(found) == "NVIDIA H200 (132 SMs, 150 GB)"


@pytest.mark.parametrize(
    ("name", "hip", "vendor"),
    [("Tesla T4", False, "nvidia"), ("AMD Instinct MI300X", True, "amd"), ("Iluvatar BI-V150", False, "unknown")],
)
def test_vendor(name: str, hip: bool, vendor: str) -> None:
    assert from_properties(properties(name=name), 0, hip=hip).vendor == vendor


class FakeNvml(ModuleType):
    """pynvml for one GPU."""

    class NVMLError(Exception):
        pass

    NVML_CLOCK_SM, NVML_CLOCK_MEM = 1, 2

    def nvmlInit(self) -> None:  # noqa: N802
        pass

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:  # noqa: N802
        if uuid != "GPU-91a535d7-4157-249a-65e5-73883afa626e":
            raise self.NVMLError
        return uuid

    def nvmlDeviceGetMaxClockInfo(self, _handle: str, which: int) -> int:  # noqa: N802
        return {1: 1980, 2: 3201}[which]

    def nvmlDeviceGetMemoryBusWidth(self, _handle: str) -> int:  # noqa: N802
        return 6144


@pytest.mark.parametrize("missing", [None, 0])
def test_nvml_fills_in_what_torch_does_not_say(monkeypatch: pytest.MonkeyPatch, missing: int | None) -> None:
    torch_says = properties(clock_rate=missing, memory_clock_rate=missing, memory_bus_width=missing)
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml("pynvml"))
    found = from_properties(torch_says, 0, hip=False)
    assert (found.boost, found.memory_clock, found.memory_bus) == (1.98e9, 3.201e9, 6144)


def test_nvml_overrules_nothing_that_torch_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml("pynvml"))
    found = from_properties(properties(clock_rate=1755000, memory_bus_width=None), 0, hip=False)
    assert (found.boost, found.memory_bus) == (1.755e9, 6144)


def test_without_nvml_what_is_not_known_stays_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    torch_says = properties(clock_rate=None)
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert from_properties(torch_says, 0, hip=False).boost is None
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml("pynvml"))
    assert from_properties(properties(clock_rate=None, uuid="another"), 0, hip=False).boost is None
    assert from_properties(properties(clock_rate=None, uuid=None), 0, hip=False).boost is None


@pytest.mark.parametrize(
    ("files", "environ", "expected"),
    [
        ([], {}, False),
        (["nvidiactl", "nvidia-uvm"], {}, False),
        (["nvidia0", "nvidiactl"], {}, True),
        (["nvidia11"], {}, True),
        (["dxg"], {}, True),
        (["kfd"], {}, True),
        (["nvidia0"], {"CUDA_VISIBLE_DEVICES": "1"}, True),
        (["nvidia0"], {"CUDA_VISIBLE_DEVICES": ""}, False),
        (["nvidia0"], {"CUDA_VISIBLE_DEVICES": "-1"}, False),
    ],
)
def test_has_gpu(tmp_path: Path, files: list[str], environ: dict[str, str], expected: bool) -> None:
    for name in files:
        (tmp_path / name).touch()
    assert has_gpu(tmp_path, environ) is expected


def test_device_without_a_gpu_is_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    found = device()
    assert found == cpu()
    assert found.kind == "cpu"
    assert found.name
    assert found.memory > 2**28
    assert found.sms >= 1


def test_fp8_encoding(tmp_path: Path) -> None:
    assert fp8_encoding(tmp_path) == "fp8_e4m3"
    for number, version in enumerate((0, 90010, 90500)):  # the CPU, a CDNA2, a CDNA4
        (tmp_path / f"{number}").mkdir()
        (tmp_path / f"{number}" / "properties").write_text(f"cpu_cores_count 8\ngfx_target_version {version}\n")
    assert fp8_encoding(tmp_path) == "fp8_e4m3"
    (tmp_path / "3").mkdir()
    (tmp_path / "3" / "properties").write_text("simd_count 1216\ngfx_target_version 90402\n")
    assert fp8_encoding(tmp_path) == "fp8_e4m3fnuz"
