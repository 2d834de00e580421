"""Data sheets of NICs."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_dsbench.mistake import Mistake
from pytest_dsbench.serving.price.nic import Nic, named, names
from pytest_dsbench.units import quantity

GOOD = """\
# ours
title = "Ours"
bandwidth = "400 Gb/s"
latency = "2 us"
source = "us"
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "ours.toml"
    path.write_text(text, encoding="utf-8")
    return path


def complaint(path: Path) -> str:
    with pytest.raises(Mistake) as caught:
        named(str(path))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(("name", "gigabytes"), [("cx6", 25), ("cx7", 50), ("cx8", 100), ("bf3", 50), ("e810", 12.5)])
def test_the_sheets_that_ship(name: str, gigabytes: float) -> None:
    nic = named(name)
    assert nic.bandwidth == pytest.approx(gigabytes * 1e9)
    assert nic.name == name and nic.latency is None
    assert nic.title.split()[0] in nic.source


def test_names() -> None:
    assert names() == ["bf3", "cx6", "cx7", "cx8", "e810"]
    with pytest.raises(Mistake) as caught:
        named("cx77")
    assert (
        str(caught.value)
        == "unknown NIC 'cx77'; did you mean 'cx7'? known: bf3, cx6, cx7, cx8, e810, or the path of a .toml sheet"
    )


def test_a_sheet_of_ones_own(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    assert named(str(path)) == Nic(name="ours", title="Ours", bandwidth=50e9, latency=2e-6, source="us")
    path.write_bytes(b"\xef\xbb\xbf" + b'bandwidth = " 50 GB/s "\r\nsource = "us"\r\n')
    assert named(str(path)) == Nic(name="ours", title="ours", bandwidth=50e9, latency=None, source="us")
    assert named(str(write(tmp_path, GOOD.replace("400 Gb/s", "40 Gib/s")))).bandwidth == 40 * 2**30 / 8


BAD = {
    "unknown key": ("latency", "latencies", 4, "unknown key 'latencies'; did you mean 'latency'? known: bandwidth, latency, sou"),
    "no bandwidth": ('bandwidth = "400 Gb/s"\n', "", 1, "bandwidth is missing; a sheet needs bandwidth, source"),
    "no source": ('source = "us"', "", 1, "source is missing"),
    "number": ('"400 Gb/s"', "400e9", 3, "bandwidth is 400000000000.0; expected a number and its unit in b/s or B/s, in quotes"),
    "bps": ("400 Gb/s", "400 Gbps", 3, "bandwidth is '400 Gbps'; expected a number and its unit in b/s or B/s, in quotes, such"),
    "no unit": ("400 Gb/s", "400", 3, "bandwidth is '400'; expected a number and its unit"),
    "prefix": ("400 Gb/s", "400 gb/s", 3, "bandwidth: '400 gb/s' has the unit 'gb/s'; expected a number and a unit in b/s, such"),
    "no number": ("400 Gb/s", "Gb/s", 3, "bandwidth: 'Gb/s' is not a quantity; expected"),
    "zero": ("400 Gb/s", "0 Gb/s", 3, "bandwidth is '0 Gb/s'; expected a finite number above zero"),
    "negative": ("400 Gb/s", "-400 GB/s", 3, "bandwidth is '-400 GB/s'; expected a finite number above zero"),
    "too large": ("400 Gb/s", "1e400 b/s", 3, "bandwidth is '1e400 b/s'; expected a finite number above zero"),
    "latency": ("2 us", "2 GB", 4, "latency: '2 GB' has the unit 'GB'; expected a number and a unit in s, such as '7.4 us'"),
    "no latency": ('"2 us"', "0", 4, "latency is 0; expected a number and its unit in s, in quotes"),
    "title": ('"Ours"', "true", 2, "title is True; expected words in quotes"),
    "not TOML": ("source = ", "source ", 5, "not TOML: Expected '=' after a key in a key/value pair"),
    "deep": ('"us"', "[" * 5000, 5, "not TOML: maximum recursion depth exceeded"),
}  # fmt: skip


@pytest.mark.parametrize(("before", "after", "line", "says"), BAD.values(), ids=BAD.keys())
def test_bad_sheet(tmp_path: Path, before: str, after: str, line: int, says: str) -> None:
    assert before in GOOD
    path = write(tmp_path, GOOD.replace(before, after, 1))
    assert complaint(path).startswith(f"{path}:{line}: {says}")


def test_no_text(tmp_path: Path) -> None:
    path = tmp_path / "ours.toml"
    assert complaint(path) == f"cannot read the NIC {path}: No such file or directory"
    path.write_bytes(b'title = "ok"\nsource = "\xff"\n')
    assert complaint(path) == f"{path}:2: not UTF-8 text"
    assert complaint(write(tmp_path, "")) == f"{path}:1: bandwidth is missing; a sheet needs bandwidth, source"


@given(value=st.integers(1, 10**6), prefix=st.sampled_from(["", "k", "M", "G", "T", "Gi"]))
def test_bits_are_an_eighth_of_bytes(value: int, prefix: str) -> None:
    assert quantity(f"{value} {prefix}b/s", "b/s") == quantity(f"{value} {prefix}B/s", "B/s")
    with pytest.raises(Mistake):
        quantity(f"{value} {prefix}b/s", "B/s")


@settings(max_examples=200, deadline=None)
@given(cut=st.integers(0, len(GOOD)), put=st.text(max_size=6), drop=st.integers(0, 8))
def test_any_change_gives_a_nic_or_a_sentence(tmp_path_factory: pytest.TempPathFactory, cut: int, put: str, drop: int) -> None:
    path = tmp_path_factory.getbasetemp() / "changed.toml"
    path.write_bytes((GOOD[:cut] + put + GOOD[cut + drop :]).encode(errors="replace"))
    try:
        nic = named(str(path))
    except Mistake as mistake:
        assert str(mistake).startswith(f"{path}:") and "\n" not in str(mistake)
        return
    assert nic.bandwidth > 0 and (nic.latency is None or nic.latency > 0)
