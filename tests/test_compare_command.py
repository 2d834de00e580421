"""dsbench compare and dsbench baseline: what they print where, and their exit codes."""

import json
import re
from collections import Counter
from collections.abc import Sequence
from math import exp
from pathlib import Path
from typing import Any

import pytest
from gated import (
    END,
    ENVIRONMENT,
    NEW_DRIVER,
    USUAL,
    Dsbench,
    baseline,
    by_duet,
    case,
    command,
    entry,
    in_environment,
    measured,
    night,
    run_file,
)

from pytest_dsbench.gate.baseline import Entry, folder, write
from pytest_dsbench.measurement import Measurement
from pytest_dsbench.record import to_line
from pytest_dsbench.runs import Coverage, End

ASK = 'a reason accepts it, such as --dsbench-save="driver 580"'


@pytest.fixture
def dsbench(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Dsbench:
    """Runs a command in an empty folder: exit code, lines of stdout, lines of stderr."""
    monkeypatch.chdir(tmp_path)
    return command(capsys)


def store(*entries: Entry) -> list[Path]:
    return write(Path("baselines"), baseline(*entries), {one.operator for one in entries})


def stored(name: str = "h200") -> dict[str, Entry]:
    return folder(Path("baselines"), name).entries


def run(*found: Measurement, number: int = 30, **more: Any) -> str:
    return str(run_file(Path("runs"), found, number, **more))


#: Ten cases: a regression, an improvement, a new one, one that is missing, one that was noisy, the rest as they were.
ENTRIES = [entry(USUAL * 2, tokens=tokens) for tokens in range(1, 10)]
NIGHT = [
    measured(1e-5 * exp(0.10), tokens=1),
    measured(1e-5 * exp(-0.10), tokens=2),
    measured(tokens=3, status="noisy_host", reason="12 of 20 batches were off the core"),
    *(measured(tokens=tokens) for tokens in range(4, 9)),
    measured(tokens=10),
]
COUNTS = {"regressed": 1, "missing": 1, "improved": 1, "noisy_host": 1, "new": 1, "same": 5}


def counts(line: str) -> dict[str, int]:
    """ "10 cases: 1 regressed, 5 same" -> the counts."""
    total, _, rest = line.removeprefix("- ").partition(" cases: ")
    found = {word.replace(" ", "_"): int(number) for number, word in (part.split(" ", 1) for part in rest.split(", "))}
    assert sum(found.values()) == int(total)
    return found


# -- compare ------------------------------------------------------------------------------------------------------------------


def test_as_text(dsbench: Dsbench) -> None:
    store(*ENTRIES)
    code, out, err = dsbench("compare", "baselines", run(*NIGHT))
    assert (code, err) == (1, [])
    assert out[0] == "held against baselines/h200"
    assert out[2].split()[:4] == ["case", "verdict", "T", "then"]
    assert [line.split()[2] for line in out[3 : out.index("", 3)]] == ["regressed", "missing", "improved", "noisy", "new"]
    cells = ["10.0 us", "11.1 us", "+10.5 %", "+9.9 % ... +11.1 %", "+1.5 %", "+1.5 %", "8.00 us", "80.0 %", "72.4 %"]
    assert re.split("  +", out[3])[2:] == [*cells, "not confirmed by another measurement"]
    assert counts(out[-1]) == COUNTS


def test_every_case(dsbench: Dsbench) -> None:
    store(*ENTRIES)
    _, out, _ = dsbench("compare", "baselines", run(*NIGHT), "--verbose")
    assert sum(line.startswith("rms_norm[") for line in out) == sum(COUNTS.values())


def test_as_markdown(dsbench: Dsbench) -> None:
    store(*ENTRIES)
    code, out, _ = dsbench("compare", "baselines", run(*NIGHT), "--format", "markdown")
    assert (code, out[0]) == (1, "### Against baselines/h200")
    rows = [line for line in out if line.startswith("| rms_norm")]
    assert [row.split(" | ")[1] for row in rows] == ["regressed", "missing", "improved", "noisy host", "new"]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in out if line.startswith("|")} == {13}
    assert counts(out[-1]) == COUNTS


def test_as_json(dsbench: Dsbench) -> None:
    store(*ENTRIES)
    path = run(*NIGHT)
    code, out, _ = dsbench("compare", "baselines", path, "--format", "json")
    found = json.loads("\n".join(out))
    assert (code, found["source"], found["joint"], found["complaints"]) == (1, "baselines/h200", [], [])
    assert Counter(one["outcome"] for one in found["verdicts"]) == COUNTS
    (slow,) = (one for one in found["verdicts"] if one["outcome"] == "regressed")
    assert (slow["case"]["dims"]["tokens"], slow["change"], slow["t_sol"]) == (1, pytest.approx(0.1, abs=1e-5), 8e-6)


def test_two_runs(dsbench: Dsbench) -> None:
    """One earlier run in the place of a history: the one thing that stands out is told."""
    then = run(*(measured(tokens=tokens) for tokens in range(20)), number=1)
    now = run(*(measured(1e-5 * exp(0.2 if tokens == 7 else 0.001 * (tokens % 3)), tokens=tokens) for tokens in range(20)))
    code, out, err = dsbench("compare", then, now)
    assert (code, err, out[0]) == (1, [], f"held against {then}")
    assert counts(out[-1]) == {"regressed": 1, "same": 19} and out[3].startswith("rms_norm[tokens7-hidden64] triton")
    assert dsbench("compare", then, then)[0] == 0


@pytest.mark.parametrize(
    ("found", "code", "outcome"),
    [
        ([measured()], 0, "same"),
        ([measured(1.3e-5)], 1, "regressed"),
        ([measured(0.7e-5)], 0, "improved"),
        ([measured(1.022e-5)], 0, "suspect"),
        ([measured(status="invalid", reason="faster than light")], 1, "invalid"),
        ([measured(status="failed", reason="wrong")], 1, "invalid"),
        ([measured(status="crashed")], 1, "crashed"),
        ([measured(status="timed_out")], 1, "timed out"),
        ([measured(status="skipped")], 0, "not run"),
        ([measured(status="noisy_host")], 3, "noisy host"),
        ([measured(status="throttled")], 3, "throttled"),
        ([measured(mode="graph")], 3, "environment"),
        (in_environment([measured()], NEW_DRIVER), 3, "environment"),
        ([], 1, "missing"),
    ],
)
def test_exit_codes(dsbench: Dsbench, found: Sequence[Measurement], code: int, outcome: str) -> None:
    store(entry(USUAL * 2))
    got, out, _ = dsbench("compare", "baselines", run(*found))
    text = [line for line in out if re.match("[0-9]+ cases?: ", line)]
    assert (got, text) == (code, [f"1 case: 1 {outcome}"])
    assert ("1 of them could not be judged: the environment is not fit to judge" in out[-1]) == (code == 3)


def test_an_unfit_environment_hides_no_wrong_result(dsbench: Dsbench) -> None:
    store(entry(), entry(tokens=64))
    assert dsbench("compare", "baselines", run(measured(mode="graph"), measured(tokens=64, status="invalid")))[0] == 1


def test_what_was_confirmed_in_the_run_is_not_forgotten(dsbench: Dsbench) -> None:
    store(entry(USUAL * 2))
    path = Path(run(measured(1.3e-5)))
    path.write_bytes(path.read_bytes() + to_line(by_duet(0.001, "same")))
    code, out, _ = dsbench("compare", "baselines", path)
    assert (code, out[-1]) == (0, "1 case: 1 same")


def test_only_what_was_asked_for_can_be_missing(dsbench: Dsbench) -> None:
    store(entry(), entry(tokens=64))
    for coverage in (Coverage(), Coverage(paths=("tests",)), Coverage(paths=("",), partial=("rms_norm",))):
        assert dsbench("compare", "baselines", run(measured(), coverage=coverage))[1][-1] == "1 case: 1 same"
    for paths in ("", "benches", "benches/bench_norm.py"):
        code, out, _ = dsbench("compare", "baselines", run(measured(), coverage=Coverage(paths=(paths,))))
        assert (code, out[-1]) == (1, "2 cases: 1 missing, 1 same")
    assert "this run did not collect it" in "\n".join(out)


def test_a_broken_line_of_the_baseline_is_told(dsbench: Dsbench) -> None:
    (file,) = store(entry(USUAL * 2))
    file.write_bytes(file.read_bytes() + b"{\n")
    for form in ("text", "markdown", "json"):
        code, out, err = dsbench("compare", "baselines", run(measured()), "--format", form)
        text = "\n".join(out)
        assert (code, err) == (0, []) and text.count("baselines/h200/rms_norm.jsonl:3: Input data was truncated") == 1


def test_a_broken_line_of_the_run_is_told(dsbench: Dsbench) -> None:
    store(entry())
    path = Path(run(measured()))
    path.write_bytes(path.read_bytes() + b"{\n")
    code, out, err = dsbench("compare", "baselines", path)
    assert (code, out[-1]) == (0, "1 case: 1 same") and err == [f"dsbench: {path}:4: Input data was truncated"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("baselines", "none.jsonl"), "none.jsonl: no such run file"),
        (("nowhere", "RUN"), "A=nowhere: "),
        (("runs", "RUN"), "A=runs: no baseline of h200 in this folder; it has none at all"),
        (("baselines", "baselines/h200/rms_norm.jsonl"), "baselines/h200/rms_norm.jsonl: a baseline; expected a run file"),
        (("empty.jsonl", "RUN"), "empty.jsonl: neither a run file nor a baseline; it is empty"),
        (("baselines", "empty.jsonl"), "empty.jsonl: the first line of the run is lost"),
        (("h20.jsonl", "RUN"), "A=h20.jsonl: a baseline of h20; this run is on h200, and times do not carry over"),
    ],
)
def test_mistakes_are_one_sentence(dsbench: Dsbench, arguments: tuple[str, str], sentence: str) -> None:
    store(entry())
    path = run(measured())
    Path("empty.jsonl").touch()
    text = Path(path).read_text()
    Path("h20.jsonl").write_text(text.replace('"hardware":{"name":"h200"', '"hardware":{"name":"h20"', 1))
    code, out, err = dsbench("compare", *(path if word == "RUN" else word for word in arguments))
    assert (code, out, len(err)) == (2, [], 1)
    assert err[0].startswith(f"dsbench: {sentence}")


def test_an_unknown_argument(dsbench: Dsbench) -> None:
    code, out, (line,) = dsbench("compare", "a", "b", "--fromat=json")
    assert (code, out) == (2, []) and line.startswith("dsbench: unknown argument of compare '--fromat'; did you mean '--format'?")


# -- baseline show ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [("show",), ("show", "rms_norm"), ("show", "--hw", "h200")])
def test_no_baselines_yet(dsbench: Dsbench, arguments: tuple[str, ...]) -> None:
    assert dsbench("baseline", *arguments) == (
        2,
        [],
        ["dsbench: baselines: no baselines here; pytest benches/ --dsbench-save begins one"],
    )


def test_show(dsbench: Dsbench) -> None:
    store(entry(USUAL[:3]), entry(tokens=64, notes=("2026-11-01: a",)), entry(operator="layer_norm", provider="torch"))
    write(Path("baselines"), baseline(entry(), hardware="h20"), ["rms_norm"])
    code, out, err = dsbench("baseline", "show")
    assert (code, err) == (0, [])
    assert [line.split() for line in out] == [
        ["baselines/h20:", "1", "cases"],
        ["operator", "provider", "cases", "nights", "last", "notes"],
        ["rms_norm", "triton", "1", "5-5", "2026-11-05", "0"],
        ["baselines/h200:", "3", "cases"],
        ["operator", "provider", "cases", "nights", "last", "notes"],
        ["layer_norm", "torch", "1", "5-5", "2026-11-05", "0"],
        ["rms_norm", "triton", "2", "3-5", "2026-11-05", "1"],
    ]
    assert dsbench("baseline", "show", "--hw", "h20")[1] == out[:3]
    # Of what it does not have, a hardware says nothing.
    assert dsbench("baseline", "show", "layer_norm")[1][0] == "baselines/h200: layer_norm"


def test_show_one_operator(dsbench: Dsbench) -> None:
    one = entry(USUAL * 2, notes=("2026-11-04: the bar is moved: driver 580", "2026-11-05: again"), pending=night(12))
    store(one, entry(USUAL[:2], tokens=64, golden=None), entry(operator="layer_norm"))
    code, out, _ = dsbench("baseline", "show", "rms_norm")
    assert (code, out[0]) == (0, "baselines/h200: rms_norm")
    assert out[1].split() == ["case", "nights", "T", "eff.", "scatter", "scale", "golden", "last", "pending", "clock"]
    first, second = (line.split() for line in out[2:4])
    assert first[:6] == ["rms_norm[tokens8-hidden64]", "triton", "10", "10.0", "us", "80.0"]
    assert first[-4:] == ["2026-11-01", "2026-11-10", "2026-11-13", "events"]
    assert second[2] == "2" and second[-4:] == ["-", "2026-11-02", "-", "events"]
    assert out[4:] == [f"{one.case.name}: {note}" for note in one.notes]


def test_show_names_broken_lines(dsbench: Dsbench) -> None:
    (file,) = store(entry())
    file.write_bytes(file.read_bytes() + b"{\n")
    code, out, err = dsbench("baseline", "show")
    assert code == 0 and len(out) == 3 and err == [f"dsbench: {file}:3: Input data was truncated"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "baseline: expected an action: show, accept, prune"),
        (
            ("show", "rms_nrom"),
            "baseline show: unknown operator of the stored baselines 'rms_nrom'; did you mean 'rms_norm'? known: rms_norm",
        ),
        (("show", "--hw", "h2000"), "--hw: unknown hardware of the stored baselines 'h2000'; did you mean 'h200'? known: h200"),
        (("accept", "none"), "none: no such run file"),
        (("prune", "none"), "none: no such run file"),
        (
            ("accept", "baselines/h200/rms_norm.jsonl"),
            "baselines/h200/rms_norm.jsonl: a baseline; expected a run file, as every ",
        ),
    ],
)
def test_mistakes_about_baselines(dsbench: Dsbench, arguments: tuple[str, ...], sentence: str) -> None:
    store(entry())
    code, out, (line,) = dsbench("baseline", *arguments)
    assert (code, out) == (2, []) and line.startswith(f"dsbench: {sentence}")


def test_an_unknown_action(dsbench: Dsbench) -> None:
    code, out, err = dsbench("baseline", "shwo")
    assert (code, out) == (2, []) and "shwo" in err[-1]


# -- baseline accept ----------------------------------------------------------------------------------------------------------


def test_accept(dsbench: Dsbench) -> None:
    code, out, err = dsbench("baseline", "accept", run(measured(), measured(tokens=64)))
    assert (code, out, err) == (
        0,
        ["saved: 2 new cases, 0 accepted, 0 not; wrote baselines/h200/rms_norm.jsonl"],
        [],
    )
    code, out, _ = dsbench("baseline", "accept", run(measured(), measured(tokens=64, status="noisy_host"), number=31))
    assert out == ["saved: 0 new cases, 1 accepted, 0 not, 1 had no time to take; wrote baselines/h200/rms_norm.jsonl"]
    assert [len(one.window) for one in stored().values()] == [2, 1]


def test_accept_the_same_run_again(dsbench: Dsbench) -> None:
    path = run(measured())
    dsbench("baseline", "accept", path)
    before = stored()
    code, out, _ = dsbench("baseline", "accept", path)
    assert code == 0 and out[-1] == "saved: 0 new cases, 0 accepted, 1 not; wrote no file"
    assert stored() == before


def test_accept_what_lowers_the_bar(dsbench: Dsbench) -> None:
    store(entry(USUAL * 2))
    path = run(measured(1.3e-5))
    name = "rms_norm[tokens8-hidden64] triton"
    code, out, _ = dsbench("baseline", "accept", path)
    assert code == 1, "a reason is wanted"
    assert out == [
        f"{name}: regressed, 30.0 % longer than before, not accepted; {ASK}",
        "saved: 0 new cases, 0 accepted, 1 not; wrote baselines/h200/rms_norm.jsonl",
    ]
    (one,) = stored().values()
    assert one.seconds == pytest.approx(1e-5) and one.pending is not None
    code, out, _ = dsbench("baseline", "accept", path, "--reason", "driver 580")
    assert code == 0 and out[0] == f"{name}: the bar is moved, 30.0 % longer than before: driver 580"
    (one,) = stored().values()
    assert one.seconds == pytest.approx(1.3e-5, rel=1e-3) and one.notes[0].endswith("driver 580")


def test_accept_leaves_other_hardware_alone(dsbench: Dsbench) -> None:
    (other,) = write(Path("baselines"), baseline(entry(seconds=2e-5), hardware="h20"), ["rms_norm"])
    before = other.read_bytes()
    code, out, _ = dsbench("baseline", "accept", run(measured()))
    assert code == 0 and out[-1].startswith("saved: 1 new cases") and other.read_bytes() == before
    assert stored()[case().identity].seconds == 1e-5


def test_accept_leaves_a_broken_file_alone(dsbench: Dsbench) -> None:
    (file,) = store(entry())
    file.write_bytes(file.read_bytes() + b"{\n")
    before = file.read_bytes()
    code, out, err = dsbench("baseline", "accept", run(measured()))
    complaint = f"{file}:3: Input data was truncated"
    assert (code, err) == (0, [f"dsbench: {complaint}"])
    assert out == [
        f"rms_norm[tokens8-hidden64] triton: {complaint}; the file is left as it is",
        "saved: 0 new cases, 0 accepted, 1 not; wrote no file",
    ]
    assert file.read_bytes() == before


def test_accept_elsewhere(dsbench: Dsbench) -> None:
    dsbench("baseline", "accept", run(measured()), "--baselines", "mine/here")
    assert [str(one) for one in Path("mine").rglob("*.jsonl")] == ["mine/here/h200/rms_norm.jsonl"]
    assert not Path("baselines").exists()


# -- baseline prune -----------------------------------------------------------------------------------------------------------


def test_prune(dsbench: Dsbench) -> None:
    files = store(entry(), entry(tokens=64), entry(operator="layer_norm"))
    code, out, err = dsbench("baseline", "prune", run(measured()))
    assert (code, err) == (0, [])
    assert out == [
        "removed layer_norm[tokens8-hidden64] triton",
        "removed rms_norm[tokens64-hidden64] triton",
        "2 of 3 entries of baselines/h200 removed",
    ]
    assert not files[0].exists() and stored() == {case().identity: entry()}


def test_prune_removes_nothing_that_the_run_only_did_not_time(dsbench: Dsbench) -> None:
    store(entry(), entry(tokens=64))
    path = run(measured(status="skipped"), measured(tokens=64, status="failed"))
    assert dsbench("baseline", "prune", path)[1] == ["0 of 2 entries of baselines/h200 removed"]
    assert len(stored()) == 2


@pytest.mark.parametrize("end", [None, End(planned=2, produced=1, not_run=("b",))])
def test_prune_by_a_run_that_was_cut_off(dsbench: Dsbench, end: End | None) -> None:
    """What it did not reach is not gone."""
    store(entry(), entry(tokens=64))
    path = run(measured(), end=end)
    assert dsbench("baseline", "prune", path) == (
        2,
        [],
        [f"dsbench: {path}: the run was cut off or lost lines; only a whole run shows what is missing"],
    )
    assert len(stored()) == 2


def test_prune_by_a_run_with_a_broken_line(dsbench: Dsbench) -> None:
    store(entry(), entry(tokens=64))
    path = Path(run(measured(), measured(tokens=64)))
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], lines[2][:99] + b"\n", lines[3]]))
    code, out, err = dsbench("baseline", "prune", path)
    assert (code, out) == (2, []) and err[0].startswith(f"dsbench: {path}:3: ") and "lost lines" in err[1]
    assert len(stored()) == 2


def test_prune_leaves_a_broken_file_alone(dsbench: Dsbench) -> None:
    (file,) = store(entry(), entry(tokens=64))
    file.write_bytes(file.read_bytes() + b"{\n")
    before = file.read_bytes()
    code, out, err = dsbench("baseline", "prune", run(measured()))
    assert (code, out, len(err)) == (0, ["0 of 2 entries of baselines/h200 removed"], 1)
    assert file.read_bytes() == before


def test_the_end_of_a_good_run() -> None:
    """What the builders above write is what a run writes that went through."""
    assert END.not_run == () and ENVIRONMENT.key() == measured().environment
