"""Baselines in files: written sorted and as a whole, read line by line."""

import json
import os
from math import log
from pathlib import Path
from typing import Any

import pytest
from gated import ENVIRONMENT, NEW_DRIVER, accepted, baseline, entry, measured, night

from pytest_dsbench.gate.baseline import Baseline, Golden, folder, is_baseline, replace, texts, write
from pytest_dsbench.measurement import OWN, Planned
from pytest_dsbench.mistake import Mistake
from pytest_dsbench.record import to_line

FULL = entry(
    creep=1.5,
    pending=night(9, 1.2e-5, shift=0.25),
    notes=("2026-11-03: the bar is moved: driver 580",),
    protocol=2,
    cold=False,
    v=1,
).replace(golden=Golden(at="2026-11-01T03:00:00", commit="0123456789ab", level=-2.3, seconds=1e-5))


def saved(path: Path, *entries: Any) -> Path:
    """The only file of a baseline of these entries."""
    (file,) = write(path, baseline(*entries), {one.operator for one in entries})
    return file


def order(path: Path) -> list[tuple[Any, ...]]:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [(line["dims"].get("tokens"), line["provider"]) for line in lines if line["kind"] == "entry"]


def test_round_trip(tmp_path: Path) -> None:
    other = entry(tokens=64, operator="layer_norm", key=NEW_DRIVER.key())
    before = baseline(FULL, other, environments={ENVIRONMENT.key(): ENVIRONMENT, NEW_DRIVER.key(): NEW_DRIVER})
    files = write(tmp_path / "new" / "baselines", before, ["rms_norm", "layer_norm"])
    assert [str(one.relative_to(tmp_path)) for one in files] == [
        "new/baselines/h200/layer_norm.jsonl",
        "new/baselines/h200/rms_norm.jsonl",
    ]
    assert folder(tmp_path / "new" / "baselines", "h200") == before
    kinds = [json.loads(line)["kind"] for line in files[0].read_text().splitlines()]
    assert kinds == ["environment", "entry"]


def test_the_example_leaves_no_optional_field_at_its_default() -> None:
    """What is not set above would not be seen to get lost."""
    fields = zip(reversed(FULL.__struct_fields__), reversed(FULL.__struct_defaults__), strict=False)
    assert {field for field, default in fields if getattr(FULL, field) == default} == {"v"}


def test_only_the_environments_of_a_file_are_in_it(tmp_path: Path) -> None:
    both = {ENVIRONMENT.key(): ENVIRONMENT, NEW_DRIVER.key(): NEW_DRIVER}
    (file,) = write(tmp_path, baseline(FULL, environments=both), ["rms_norm"])
    assert [line["key"] for line in map(json.loads, file.read_text().splitlines())] == [ENVIRONMENT.key()] * 2


def test_sorted_by_dimensions_as_numbers_then_by_provider(tmp_path: Path) -> None:
    mixed = [(64, "triton"), (512, "torch"), (8, "triton"), (64, "torch"), (8, "liger")]
    file = saved(tmp_path, *(entry(tokens=tokens, provider=provider) for tokens, provider in mixed))
    assert order(file) == [(8, "liger"), (8, "triton"), (64, "torch"), (64, "triton"), (512, "torch")]


def test_sorted_by_dimensions_of_every_kind(tmp_path: Path) -> None:
    """Numbers before words, and lists by their numbers."""
    values = ["b", [64, 1], None, 64, [8, 1], True, 8, "a", 2.5]
    entries = [entry().replace(dims={"tokens": value}) for value in values]
    found = [tokens for tokens, _ in order(saved(tmp_path, *entries))]
    assert found.index([8, 1]) < found.index([64, 1]) and found.index("a") < found.index("b")
    assert found[:3] == [2.5, 8, 64]
    assert [one for one, _ in order(saved(tmp_path / "again", *reversed(entries)))] == found


def test_benches_by_hand_are_sorted_by_their_label(tmp_path: Path) -> None:
    file = saved(tmp_path, *(entry(provider=OWN).replace(dims={}, label=label) for label in ("c", "a", "b")))
    assert [json.loads(line).get("label") for line in file.read_text().splitlines()[1:]] == ["a", "b", "c"]


def test_a_save_that_changes_one_case_changes_one_line(tmp_path: Path) -> None:
    before = baseline(*(entry(tokens=tokens) for tokens in (8, 64, 512)))
    (file,) = write(tmp_path, before, ["rms_norm"])
    old = file.read_text().splitlines()
    # A process of another day, which says so in what is recorded of its environment.
    now = ENVIRONMENT.replace(started="2026-12-01T03:00:00", commit="fedcba9876543210", temperature=41, hostname="other")
    taken = accepted(folder(tmp_path, "h200"), [measured(tokens=64)], now=now)
    write(tmp_path, taken.baseline, taken.operators)
    new = file.read_text().splitlines()
    assert [before == after for before, after in zip(old, new, strict=True)] == [True, True, False, True]


def test_the_line_of_an_environment_follows_what_is_told_of_it(tmp_path: Path) -> None:
    """Else a report would tell of the same change of Python every night."""
    now = ENVIRONMENT.replace(python="3.13.1")
    taken = accepted(baseline(entry()), [measured()], now=now)
    assert taken.baseline.environments == {ENVIRONMENT.key(): now}


def test_times_have_six_digits(tmp_path: Path) -> None:
    taken = accepted(baseline(), [measured(1.23456789e-5, t_sol=8.7654321e-6)])
    (found,) = taken.baseline.entries.values()
    assert found.window[0].passes == (1.23457e-5,) and found.t_sol == 8.76543e-6
    assert found.window[0].low == 1.23333e-5 and found.window[0].high == 1.2358e-5
    anchor = measured().anchors
    assert anchor is not None and found.window[0].anchor == anchor.copy_seconds


# -- what cannot be read ------------------------------------------------------------------------------------------------------

GOOD = to_line(entry(tokens=64)).strip()
FIRST = to_line(entry()).strip()


def without(**changes: Any) -> bytes:
    line = json.loads(FIRST)
    line["window"][0].update(changes)
    return json.dumps(line).encode()


BAD = {
    "broken": (b'{"v": 1, "kind": "entry", "ope', "Input data was truncated"),
    "conflict": (b"<<<<<<< HEAD", "JSON is malformed"),
    "empty": (b"", "Input data was truncated"),
    "bytes": (b"\xff\xfe\x00", "JSON is malformed"),
    "text": (FIRST.replace(b"rms_norm", b"rms\xff_norm", 1), "invalid"),
    "kind": (b'{"v": 1, "kind": "case"}', "Invalid value 'case'"),
    "field": (FIRST.replace(b'"creep"', b'"crept"'), "unknown field `crept`"),
    "newer": (b'{"v": 2, "kind": "entry", "surprise": true}', "baseline version 2 is newer than 1"),
    "twice": (GOOD, "rms_norm[tokens64-hidden64] triton stands here a second time; the first one is used"),
    "window": (to_line(entry(())).strip(), "rms_norm[tokens8-hidden64] triton has no accepted night"),
    "passes": (without(passes=[]), "the night of 2026-11-01T03:00:00 has no passes"),
    "zero": (without(passes=[0.0]), "that cannot be"),
    "negative": (without(anchor=-1e-4), "that cannot be"),
    "far": (without(shift=1e3), "that cannot be"),
    "pending": (to_line(entry(pending=night(7, passes=()))).strip(), "the night of 2026-11-08T03:00:00 has no passes"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_line_is_named_and_the_rest_is_used(tmp_path: Path, name: str) -> None:
    line, sentence = BAD[name]
    file = saved(tmp_path, entry(tokens=64), entry(tokens=512))
    file.write_bytes(file.read_bytes() + line + b"\n" + to_line(entry(tokens=1024)))
    found = folder(tmp_path, "h200")
    (complaint,) = found.complaints
    assert complaint.startswith(f"{file}:4: ") and sentence in complaint and "\n" not in complaint
    assert [one.dims["tokens"] for one in found.entries.values()] == [64, 512, 1024]
    assert found.damaged == {"rms_norm": complaint}
    # Whatever was read can be judged and shown.
    assert all(log(one.seconds) < one.level < 0 for one in found.entries.values())


@pytest.mark.parametrize("name", BAD)
def test_a_file_with_a_bad_line_is_left_as_it_is(tmp_path: Path, name: str) -> None:
    files = write(tmp_path, baseline(entry(tokens=64), entry(tokens=64, operator="layer_norm")), ["rms_norm", "layer_norm"])
    files[1].write_bytes(files[1].read_bytes() + BAD[name][0] + b"\n")
    old = [one.read_bytes() for one in files]
    stored = folder(tmp_path, "h200")
    nights = [measured(tokens=tokens, operator=name) for name in ("rms_norm", "layer_norm") for tokens in (8, 64)]
    taken = accepted(stored, nights)
    assert taken.operators == ("layer_norm",) and (taken.new, taken.accepted) == (1, 1)
    assert len(taken.left) == 2
    assert all(one.endswith(f"{stored.complaints[0]}; the file is left as it is") for one in taken.left)
    assert taken.left[0].startswith("rms_norm[tokens8-hidden64] triton: ")
    write(tmp_path, taken.baseline, taken.operators)
    assert [one.read_bytes() == before for one, before in zip(files, old, strict=True)] == [False, True]


def test_a_newer_file_is_one_sentence() -> None:
    newer = b'{"v": 3, "kind": "entry"}\n'
    found = texts("here", "h200", {"a/rms_norm.jsonl": 5 * newer, "a/layer_norm.jsonl": newer + FIRST})
    assert found.complaints == tuple(
        f"a/{name}.jsonl:1: baseline version 3 is newer than 1, the newest this version reads; update pytest-dsbench"
        for name in ("layer_norm", "rms_norm")
    )
    assert len(found.entries) == 1 and found.damaged.keys() == {"rms_norm", "layer_norm"}


def test_a_case_that_stands_in_two_files() -> None:
    found = texts("here", "h200", {"a.jsonl": FIRST, "b.jsonl": FIRST})
    assert found.complaints[0].startswith("b.jsonl:1: ") and found.damaged.keys() == {"b"}


def test_a_file_that_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "h200" / "rms_norm.jsonl").mkdir(parents=True)
    with pytest.raises(Mistake, match=r"rms_norm\.jsonl: cannot be read: Is a directory$"):
        folder(tmp_path, "h200")


def test_an_older_version() -> None:
    """A real file of version 1."""
    path = Path(__file__).parent / "data" / "baseline_v1.jsonl"
    found = texts("v1", "h20", {str(path): path.read_bytes()})
    assert found.complaints == () and found.damaged == {}
    assert [(one.dims["tokens"], one.provider) for one in found.entries.values()] == [(8, "torch"), (8, "triton"), (64, "triton")]
    new, moved, doubted = found.entries.values()
    assert new.golden is None and len(new.window) == 1
    assert moved.golden is not None and moved.window[0].shift > 0 and moved.notes and moved.window[-1].shift == 0
    assert doubted.pending is not None and doubted.creep > 0
    assert found.environments.keys() == {one.key for one in found.entries.values()}
    assert all(place.key() == key for key, place in found.environments.items())


def test_an_entry_is_written_in_the_version_it_is_written_in(tmp_path: Path) -> None:
    file = saved(tmp_path, entry(v=0))
    assert [json.loads(line)["v"] for line in file.read_text().splitlines()] == [1, 1]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (FIRST, True),
        (b'\n{\n5\n{"kind": "environment"}', True),
        (b'{"kind": "run"}\n' + FIRST, False),
        (b"", False),
        (b"x", False),
    ],
)
def test_which_files_are_baselines(text: bytes, expected: bool) -> None:
    assert is_baseline(text) is expected


def test_no_baseline_yet(tmp_path: Path) -> None:
    assert folder(tmp_path / "baselines", "h200") == Baseline(source="baselines/h200", hardware="h200")


# -- writing ------------------------------------------------------------------------------------------------------------------


def test_an_operator_without_entries_has_no_file(tmp_path: Path) -> None:
    file = saved(tmp_path, entry())
    write(tmp_path, baseline(), ["rms_norm"])
    assert not file.exists()
    write(tmp_path / "other", baseline(), [])
    assert not (tmp_path / "other").exists()


def fail(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(("owner", "name"), [(os, "fsync"), (Path, "replace"), (Path, "chmod")])
@pytest.mark.parametrize("there", [True, False])
def test_an_interrupted_save_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, there: bool
) -> None:
    file = tmp_path / "rms_norm.jsonl"
    if there:
        file.write_bytes(b"old")
    monkeypatch.setattr(owner, name, fail)
    with pytest.raises(KeyboardInterrupt):
        replace(file, b"new")
    assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == ([(file.name, b"old")] if there else [])


def test_a_disk_that_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = saved(tmp_path, entry())
    old = file.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Mistake) as caught:
        saved(tmp_path, entry(tokens=64))
    assert str(caught.value) == f"{file}: cannot be written: No space left on device; it is as it was"
    assert file.read_bytes() == old and list(file.parent.iterdir()) == [file]


def test_a_baselines_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "baselines").touch()
    with pytest.raises(Mistake, match="baselines/h200/rms_norm.jsonl: cannot be written: Not a directory"):
        saved(tmp_path / "baselines", entry())


def test_the_mode_of_a_file_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "rms_norm.jsonl"
    replace(file, b"first")
    assert file.stat().st_mode & 0o777 == 0o644
    file.chmod(0o664)
    replace(file, b"second")
    assert (file.read_bytes(), file.stat().st_mode & 0o777) == (b"second", 0o664)


def test_a_bench_by_hand_is_known_by_its_label() -> None:
    """Its parameters are no dimensions."""
    one = Planned(operator="mine", dims={}, label="a", where="", provider=OWN)
    assert one.identity != one.replace(label="b").identity
    other = one.replace(provider="torch")
    assert other.identity == other.replace(label="b", where="x:1", tags=("t",)).identity
