"""Trace files of any layout, broken ones, and one of 200 MB: what is good is used, and memory stays bounded."""

import gzip
import json
import re
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
import trace_made as made

from pytest_dsbench.__main__ import main
from pytest_dsbench.mistake import Mistake
from pytest_dsbench.profile.tomlfile import read as read_profile
from pytest_dsbench.profile.tomlfile import write as write_profile
from pytest_dsbench.report.trace import trace_lines
from pytest_dsbench.trace.events import Events, read
from pytest_dsbench.trace.mapping import Mapping
from pytest_dsbench.trace.stream import Source
from pytest_dsbench.trace.summary import summarise
from pytest_dsbench.trace.write import profile


def names(path: Path) -> tuple[list[str], list[str]]:
    """Names of the kernels that were read, and the complaints."""
    events = read(path)
    return [str(events.names.words[what]) for what in events.kernels.what], events.complaints


def numbered(count: int) -> list[made.Event]:
    return [made.kernel(f"k{number}", number, 1, number + 1) for number in range(count)]


@pytest.mark.parametrize("indent", [None, 0, 4])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_any_layout(indent: int | None, ascii_only: bool, tmp_path: Path) -> None:
    events = [*numbered(300), made.kernel("grüße_𝛼", 400, 1, 1)]
    whole = {"before": {"a": [1, {"traceEvents": 5}]}, "traceEvents": events, "after": [[], {}], "last": -1.5e-3}
    path = tmp_path / "a.json"
    path.write_text(json.dumps(whole, indent=indent, ensure_ascii=ascii_only), encoding="utf-8")
    found, complaints = names(path)
    assert found == [f"k{number}" for number in range(300)] + ["grüße_𝛼"]
    assert not complaints
    assert read(path).head == {"before": {"a": [1, {"traceEvents": 5}]}, "after": [[], {}], "last": -1.5e-3}


@pytest.mark.parametrize("prefix", [b"", b"\xef\xbb\xbf", b"\r\n \t"])
def test_a_bare_list(prefix: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(prefix + json.dumps(numbered(5), indent=1).replace("\n", "\r\n").encode())
    assert names(path) == ([f"k{number}" for number in range(5)], [])


@pytest.mark.parametrize("size", [1, 7, 64])
def test_small_pieces_are_put_together(size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytest_dsbench.trace.unpack.PIECE", size)
    path = made.write(tmp_path / "a.json", numbered(20), numbers=[12345, 1e-9])
    found, complaints = names(path)
    assert (len(found), complaints) == (20, [])
    assert read(path).head["numbers"] == [12345, 1e-9]


def test_every_cut_is_survived(tmp_path: Path) -> None:
    whole = json.dumps({"schemaVersion": 1, "traceEvents": numbered(4)}, indent=1).encode()
    path = tmp_path / "a.json"
    begins = whole.index(b"[") + 1
    for length in range(begins, len(whole) - 1, 5):
        path.write_bytes(whole[:length])
        found, complaints = names(path)
        assert found == [f"k{number}" for number in range(len(found))]
        assert len(complaints) == 1
        assert complaints[0].startswith(f"{path}:")
        assert f"{len(found):,} events" in complaints[0]


def test_where_it_was_cut_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = json.dumps({"traceEvents": made.step(3)}, indent=1)
    lost = whole.index("lost_k")
    path = tmp_path / "a.json"
    path.write_text(whole[:lost])
    assert main(["trace", str(path)]) == 0
    out, err = capsys.readouterr()
    # The event begins with its "{", two keys before the name.
    line = whole.count("\n", 0, whole.rindex("{", 0, lost)) + 1
    assert err.startswith(f"dsbench: {path}:{line} (character ")
    assert "250 us" not in err
    assert "248 us of device time" in out


def test_garbage_in_the_middle(tmp_path: Path) -> None:
    pieces = [json.dumps(event) for event in numbered(6)]
    pieces[2] = pieces[2][:40] + "\x00\x01{{{]"
    path = tmp_path / "a.json"
    path.write_text('{"traceEvents": [\n' + ",\n".join(pieces) + "\n]}")
    found, (complaint,) = names(path)
    assert found == ["k0", "k1", "k3", "k4", "k5"]
    assert complaint.startswith(f"{path}:4 (character ")


def test_what_is_no_event_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"traceEvents": [None, 3, "x", [], *numbered(2), {"ph": "X"}, {"ph": "X", "cat": 1, "name": []}]}))
    found, complaints = names(path)
    assert found == ["k0", "k1"]
    assert len(complaints) == 4


@pytest.mark.parametrize("packed", [lambda data: data[: len(data) // 2], lambda data: data[:-8], lambda data: data + data[:15]])
def test_a_gzip_file_that_is_cut(packed, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    data = gzip.compress(json.dumps({"traceEvents": numbered(2000)}).encode())
    path = tmp_path / "a.json.gz"
    path.write_bytes(packed(data))
    found, complaints = names(path)
    assert found == [f"k{number}" for number in range(len(found))]
    assert len(found) > 500
    assert complaints[0] == f"{path}: the gzip file is cut; what was read before is used"


def test_a_gzip_file_that_is_damaged(tmp_path: Path) -> None:
    data = bytearray(gzip.compress(json.dumps({"traceEvents": numbered(5000)}).encode()))
    data[len(data) // 2 : len(data) // 2 + 200] = bytes(200)
    path = tmp_path / "a.json.gz"
    path.write_bytes(data)
    _, complaints = names(path)
    assert complaints


def test_a_gzip_file_of_several_members(tmp_path: Path) -> None:
    text = json.dumps({"traceEvents": numbered(50)}).encode()
    path = tmp_path / "a.json.gz"
    path.write_bytes(gzip.compress(text[:1000]) + gzip.compress(text[1000:]))
    assert len(names(path)[0]) == 50


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(json.dumps({"traceEvents": numbered(3)}).encode().replace(b"k1", b"k\xff\xfe"))
    found, complaints = names(path)
    assert found == ["k0", "k��", "k2"]
    assert not complaints


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty; expected a trace"),
        (b"  \n", "is empty; expected a trace"),
        (b"hello", "neither a JSON object nor a list: it begins with 'h'"),
        (b"\x7fELF\x00", "neither a JSON object nor a list"),
        (b"3", "neither a JSON object nor a list: it begins with '3'"),
        (b"{}", "no list traceEvents, its keys are: none"),
        (b'{"events": [], "x": 1}', "no list traceEvents, its keys are: events, x"),
        (b'{"traceEvents": {"a": 1}}', "no list traceEvents"),
        (b'{"traceEvents": null}', "no list traceEvents"),
        (b'{"a": [1, 2', "no readable value of 'a'; expected a trace"),
        (b'{"a": tru}', "no readable value of 'a'; expected a trace"),
        (b'{"a"', "ends before its last bracket"),
        (b"{a: 1}", "has no key where one belongs"),
        (b"[]", "a trace without operations and kernels (of 0 events)"),
        (b'{"traceEvents": []}', "a trace without operations and kernels"),
        (b"[" * 100_000, "a trace without operations and kernels"),
        (b'{"a": ' + b"[" * 100_000, "no readable value of 'a'"),
        (b'{"a": ' + b"9" * 10_000 + b"}", "no readable value of 'a'"),
        (b"\x1f\x8b\x08", "is empty; expected a trace"),
    ],
)
def test_what_is_no_trace(content: bytes, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    assert main(["trace", str(path)]) == 2
    out, err = capsys.readouterr()
    assert sentence in err
    assert not out


@pytest.mark.parametrize("name", ["absent.json", "."])
def test_what_is_no_file(name: str, tmp_path: Path) -> None:
    with pytest.raises(Mistake, match="cannot be read: (No such file|Is a directory)"):
        Source(tmp_path / name)


def test_columns_hold_what_was_read(tmp_path: Path) -> None:
    events: Events = read(made.write(tmp_path / "a.json", made.step(3), rank=4))
    assert len(events.kernels) == 9
    assert events.steps == {3: (30_000, 31_000)}
    assert events.head["distributedInfo"]["rank"] == 4


#: Reads a trace as the command does, and prints how much memory that took.
BIG = """
import re, sys
from pathlib import Path
from pytest_dsbench.trace.mapping import Mapping
from pytest_dsbench.trace.summary import summarise
summary = summarise([Path(sys.argv[1])], Mapping())
(line,) = summary.lines
# Of this program alone: ru_maxrss also knows of the process that was forked to begin it.
peak = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]
print(line.calls, line.seconds, peak)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="what a process used of memory is read from Linux's /proc")
def test_200_megabytes_in_less_than_one_gigabyte(tmp_path: Path) -> None:
    path, size, count = tmp_path / "big.json", 200_000_000, 0
    # Only the times and ids of a block differ; these stand for them, and in no other number.
    number, at = 900_000_000_001, 900_000_000_002
    template = ",\n".join(
        json.dumps(event, indent=2)
        for event in (
            made.operation("aten::mm", at, 50, number, made.tensor(16, 1024), made.tensor(1024, 3072)),
            made.launch("cudaLaunchKernel", at, number, number),
            made.kernel("gemm<bf16>", at, 2.5, number, number),
        )
    )
    with path.open("w") as file:
        file.write('{"schemaVersion": 1, "traceEvents": [\n')
        while file.tell() < size:
            for n in range(count + 1, count + 1001):
                file.write(template.replace(f"{number}", f"{n}").replace(f"{at}", f"{n}00") + ",\n")
            count += 1000
        file.write('{"ph": "M"}]}')
    done = subprocess.run([sys.executable, "-c", BIG, str(path)], capture_output=True, text=True, check=True)
    calls, seconds, peak = map(float, done.stdout.split())
    assert calls == count
    assert seconds == pytest.approx(2.5e-6 * count)
    assert peak * 1024 < 1e9


def test_a_long_value_beside_the_events(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"stacks": ["x" * 100] * 60_000, "traceEvents": made.step(3)}))
    assert summarise([path], Mapping()).seconds == pytest.approx(255e-6)


@pytest.mark.parametrize("seed", range(4))
def test_damage_is_never_more_than_a_mistake(seed: int, tmp_path: Path) -> None:
    """Bytes overwritten, and values replaced, at random: what can still be read adds up to one."""
    values = [b"null", b'"x"', b"-1", b"[]", b"{}", b"1e999", b"true", b"9" * 30]
    draw, mapping, path = Random(seed), Mapping(), made.write(tmp_path / "a.json", made.step(3) + made.step(4), rank=0)
    whole, used = path.read_bytes(), 0
    for _ in range(60):
        damaged = bytearray(whole)
        for _ in range(draw.randint(1, 6)):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        path.write_bytes(re.sub(rb"(?<=: )[\d.]+", lambda old: draw.choice(values) if draw.random() < 0.02 else old[0], damaged))
        try:
            summary = summarise([path], mapping)
        except Mistake:
            continue
        used += 1
        assert sum(summary.share(line.seconds) for line in summary.lines) == pytest.approx(1)
        assert list(trace_lines(summary, summary.sheet(), 5))[-1].endswith("= 100.00 % of summed device time")
        assert read_profile(write_profile(profile(summary, "a", None)), "a").rows
    assert used > 20
