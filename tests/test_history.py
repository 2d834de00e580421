"""The history of a case: series over run files, their steps, and the command that shows them."""

import sys
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pytest_dsbench.__main__ import main
from pytest_dsbench.environment import Environment, differences
from pytest_dsbench.hardware import Hardware
from pytest_dsbench.history import collect, mark
from pytest_dsbench.measurement import Measurement, Planned
from pytest_dsbench.mistake import Mistake
from pytest_dsbench.report.plots.history import plot
from pytest_dsbench.runs import Header, Run, Writer, read
from pytest_dsbench.stats import Estimate

SHEET = Hardware(name="h200", title="NVIDIA H200", peak={"bf16": 989e12}, bandwidth=4.8e12, source="test")
OLD = Environment(device="cuda", gpu="NVIDIA H200", driver="570.86", torch="2.9.0", commit="0123456789abcdef")
NEW = OLD.replace(driver="580.65")

History = Callable[..., tuple[int, list[str], list[str]]]


@pytest.fixture
def history(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> History:
    """Runs the command in an empty folder: exit code, lines of stdout, lines of stderr."""
    monkeypatch.chdir(tmp_path)

    def running(*arguments: str) -> tuple[int, list[str], list[str]]:
        code = main(["history", *arguments])
        out, err = capsys.readouterr()
        return code, out.splitlines(), err.splitlines()

    return running


def case(seconds: float | None, tokens: int = 8, provider: str = "torch", status: Any = "passed", **more: Any) -> Measurement:
    label = more.pop("label", f"tokens{tokens}-hidden64")
    planned = Planned(operator="rms_norm", dims={"tokens": tokens}, label=label, where="a:1", provider=provider)
    time = seconds and Estimate(median=seconds, low=0.99 * seconds, high=1.01 * seconds, n=30, stopped_by="precise")
    share = seconds and 1e-6 / seconds
    return Measurement(
        case=planned,
        status=status,
        time=time or None,
        efficiency=share or None,
        packages={"torch": "2.9.0"},
        mode="events",
        **more,
    )


def night(number: int) -> str:
    return (datetime(2026, 11, 1, 3) + timedelta(days=number)).isoformat()


def write(folder: Path, nights: Sequence[Sequence[Measurement]], environments: Sequence[Environment] | None = None) -> list[Path]:
    """A run file per night."""
    paths = []
    for number, lines in enumerate(nights):
        environment = environments[number] if environments else OLD
        writer = Writer(folder, Header(started=night(number), environment=environment, hardware=SHEET))
        for line in lines:
            writer.append(line)
        writer.close()
        paths.append(writer.path)
    return paths


def runs(nights: Sequence[Sequence[Measurement]], environments: Sequence[Environment] | None = None) -> list[Run]:
    headers = [
        Header(started=night(i), environment=environments[i] if environments else OLD, hardware=SHEET) for i in range(len(nights))
    ]
    return [
        Run(path=f"{i}", header=header, measurements=tuple(lines), end=None)
        for i, (header, lines) in enumerate(zip(headers, nights, strict=True))
    ]


STEPPED = [10e-6, 10.02e-6, 9.99e-6, 10.01e-6, 10e-6, 10.5e-6, 10.51e-6, 10.49e-6, 10.52e-6]


# -- series -------------------------------------------------------------------------------------------------------------------


def test_a_series_is_in_the_order_of_its_runs() -> None:
    found = runs([[case(seconds)] for seconds in STEPPED])
    (series,) = collect(reversed(found))
    assert [point.timed for point in series.points] == STEPPED
    assert series.name == "rms_norm[tokens8-hidden64] torch on h200"


def test_a_series_per_case_and_provider() -> None:
    lines = [case(1e-6), case(1e-6, 9), case(1e-6, provider="triton")]
    found = collect(runs([lines, lines]))
    assert [(one.label, one.provider, len(one.points)) for one in found] == [
        ("tokens8-hidden64", "torch", 2),
        ("tokens8-hidden64", "triton", 2),
        ("tokens9-hidden64", "torch", 2),
    ]


def test_a_case_keeps_its_history_under_a_new_label() -> None:
    (series,) = collect(runs([[case(1e-6, label="old")], [case(1e-6, label="new")]]))
    assert (series.label, len(series.points)) == ("new", 2)


def test_several_records_of_a_run_are_one_point() -> None:
    lines = [case(4e-6), case(1e-6), case(2e-6), case(9e-6, status="noisy_host")]
    (series,) = collect(runs([lines]))
    (point,) = series.points
    assert point.time is not None
    assert (point.timed, point.time.low, point.efficiency) == (2e-6, pytest.approx(1.98e-6), pytest.approx(0.5))


def test_steps() -> None:
    (series,) = collect(runs([[case(seconds)] for seconds in STEPPED]))
    marks = [one.mark for one in mark(series)]
    assert [i for i, one in enumerate(marks) if one.step is not None] == [5]
    assert marks[5].step == pytest.approx(0.05, abs=0.002)
    assert [one.level for one in marks[:5]] == pytest.approx([10.004e-6] * 5, rel=1e-4)
    assert [one.mark for one in mark(series, last=4)] == marks[-4:]


def test_one_bad_night_is_an_outlier() -> None:
    (series,) = collect(runs([[case(seconds)] for seconds in [1e-6] * 5 + [3e-6] + [1e-6] * 4]))
    marks = [one.mark for one in mark(series)]
    assert [i for i, one in enumerate(marks) if one.spike] == [5]
    assert all(one.step is None and one.level == pytest.approx(1e-6) for one in marks)


def test_levels_do_not_reach_across_environments() -> None:
    nights = [[case(seconds)] for seconds in [10e-6] * 4 + [12e-6] * 4]
    (series,) = collect(runs(nights, [OLD] * 4 + [NEW] * 4))
    marks = [one.mark for one in mark(series)]
    assert [one.step for one in marks] == [None] * 8
    assert [one.changed for one in marks] == [()] * 4 + [("driver 570.86 -> 580.65",)] + [()] * 3
    assert [one.level for one in marks] == pytest.approx([10e-6] * 4 + [12e-6] * 4)


def test_an_environment_that_returns_is_compared_with_itself() -> None:
    nights = [[case(seconds)] for seconds in [10e-6, 12e-6] * 3 + [11e-6, 12e-6] * 3]
    (series,) = collect(runs(nights, [OLD, NEW] * 6))
    assert [(i, one.mark.step) for i, one in enumerate(mark(series)) if one.mark.step] == [(6, pytest.approx(0.1))]


def test_another_clock_is_another_series_of_levels() -> None:
    nights = [[case(10e-6, cold=True)]] * 3 + [[case(5e-6, cold=False).replace(mode="graph")]] * 3
    (series,) = collect(runs(nights))
    marks = [one.mark for one in mark(series)]
    assert marks[3].changed == ("clock events -> graph", "cache cold -> hot")
    assert [one.step for one in marks] == [None] * 6


@pytest.mark.parametrize("status", ["noisy_host", "throttled", "failed"])
def test_what_did_not_pass_is_not_fitted(status: str) -> None:
    nights = [[case(10e-6)]] * 4 + [[case(20e-6, status=status)]] * 3 + [[case(10e-6)]] * 2
    (series,) = collect(runs(nights))
    assert [one.mark.level for one in mark(series)] == [pytest.approx(10e-6)] * 4 + [None] * 3 + [pytest.approx(10e-6)] * 2


def test_differences() -> None:
    other = OLD.replace(power_limit=500.0, mig=True, memory=2**37, locked_clock=1.2e9, affinity=(0, 1), hostname="b", commit="f")
    assert list(differences(OLD, other)) == [
        "memory none -> 128 GiB",
        "mig none -> on",
        "power limit none -> 500 W",
        "locked clock none -> 1200 MHz",
        "affinity none -> cores 0-1",
    ]
    assert not differences(OLD, OLD.replace(hostname="b"))


def test_equal_core_counts_are_still_a_change() -> None:
    before, after = OLD.replace(affinity=(0, 1)), OLD.replace(affinity=(2, 3))
    assert list(differences(before, after)) == ["affinity cores 0-1 -> cores 2-3"]


# -- the command --------------------------------------------------------------------------------------------------------------


def written(folder: Path) -> None:
    nights = [[case(seconds), case(2 * STEPPED[0], 16), case(3e-6, provider="triton")] for seconds in STEPPED]
    nights += [[case(30e-6, status="noisy_host"), case(None, 16, status="skipped")], [case(9e-6)], [case(9e-6)]]
    write(folder, nights, [OLD] * 10 + [NEW] * 2)


def test_one_case_in_full(history: History, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    written(tmp_path / "runs")
    code, out, err = history("rms_norm[tokens8-hidden64]", "--provider", "torch")
    assert (code, err, len(out)) == (0, [], 14)
    assert out[0] == "rms_norm[tokens8-hidden64] torch on h200: 12 runs, level 9.00 us, last step +5.0 % on 2026-11-06"
    assert out[1].split() == ["run", "commit", "provider", "version", "T", "efficiency", "status", "remark"]
    assert " ".join(out[2].split()) == "2026-11-01 03:00 0123456 torch 2.9.0 10.0 us +-1.0 % 10.0 % passed"
    assert out[7].endswith("step +5.0 % to 10.5 us")
    assert out[11].split()[-2:] == ["noisy", "host"]
    assert out[12].endswith("passed  environment changed: driver 570.86 -> 580.65")


def test_part_of_a_label_finds_several(history: History, tmp_path: Path) -> None:
    written(tmp_path / "runs")
    _, out, _ = history("rms_norm[hidden64]", "--last", "2")
    assert [line for line in out if " on h200: " in line] == [
        "rms_norm[tokens16-hidden64] torch on h200: the last 2 of 10 runs, level 20.0 us, no step",
        "rms_norm[tokens8-hidden64] torch on h200: the last 2 of 12 runs, level 9.00 us, no step",
        "rms_norm[tokens8-hidden64] triton on h200: the last 2 of 9 runs, level 3.00 us, no step",
    ]


def test_an_operator_has_a_line_per_series(history: History, tmp_path: Path) -> None:
    written(tmp_path / "elsewhere")
    _, out, _ = history("rms_norm", "--runs", "elsewhere")
    assert out[0].split("  ")[0] == "case"
    assert [" ".join(line.split()) for line in out[1:4]] == [
        "rms_norm[tokens16-hidden64] torch h200 10 9 1 20.0 us 20.0 us -",
        "rms_norm[tokens8-hidden64] torch h200 12 11 2 10.0 us 9.00 us +5.0 % on 2026-11-06",
        "rms_norm[tokens8-hidden64] triton h200 9 9 1 3.00 us 3.00 us -",
    ]


def test_a_case_that_never_passed(history: History, tmp_path: Path) -> None:
    write(tmp_path / "runs", [[case(None, status="skipped")]])
    assert history("rms_norm[tokens8]")[1][0] == "rms_norm[tokens8-hidden64] torch on h200: 1 run, none of them passed"
    assert history("rms_norm")[1][1].split()[3:] == ["1", "0", "1", "-", "-", "-"]


def test_at_most_twenty_are_shown(history: History, tmp_path: Path) -> None:
    write(tmp_path / "runs", [[case(1e-6, tokens) for tokens in range(100, 123)]])
    _, out, _ = history("rms_norm[tokens]")
    assert len([line for line in out if " on h200: " in line]) == 20
    assert "3 more series are not shown; a longer label finds fewer" in out


def test_bad_lines_and_files_are_named_and_the_rest_is_used(history: History, tmp_path: Path) -> None:
    paths = write(tmp_path / "runs", [[case(1e-6)]] * 3)
    paths[0].write_bytes(paths[0].read_bytes() + b'{"kind": "ca')
    paths[1].write_bytes(paths[1].read_bytes().split(b"\n", 1)[1])
    (tmp_path / "runs" / "z.jsonl").mkdir()
    code, out, err = history("rms_norm[tokens8]")
    assert code == 0 and " 2 runs, level 1.00 us" in out[0]
    assert err[0].startswith(f"dsbench: {paths[0].relative_to(tmp_path)}:3: ")
    assert err[1].startswith(f"dsbench: {paths[1].relative_to(tmp_path)}: its first line, ")
    assert err[2:] == ["dsbench: runs/z.jsonl: no such run file"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("rms_nrom",), "unknown operator of these runs 'rms_nrom'; did you mean 'rms_norm'? known: rms_norm"),
        (
            ("rms_norm[tokens7-hidden64]",),
            "no case of rms_norm in these runs is labelled 'tokens7-hidden64'; did you mean rms_norm[",
        ),
        (("rms_norm[xyz]",), "no case of rms_norm in these runs is labelled 'xyz'; dsbench history rms_norm lists them"),
        (("rms_norm[x",), "'rms_norm[x' is not a case; expected OPERATOR or OPERATOR[case], such as "),
        (
            ("rms_norm", "--provider", "tritn"),
            "--provider: unknown provider of rms_norm in these runs 'tritn'; did you mean 'tri",
        ),
        (("rms_norm", "--runs", "nowhere"), "--runs: nowhere is not a folder; "),
        (("rms_norm", "--runs", "empty"), "--runs: empty has no run files (*.jsonl); "),
        (("rms_norm", "--last", "0"), "--last 0: expected a number of runs, 1 or more"),
        (("rms_norm", "--plto", "x"), "unknown argument of history '--plto'; did you mean '--plot'?"),
    ],
)
def test_mistakes_are_one_sentence(history: History, tmp_path: Path, arguments: tuple[str, ...], sentence: str) -> None:
    written(tmp_path / "runs")
    (tmp_path / "empty").mkdir()
    code, out, (line,) = history(*arguments)
    assert (code, out) == (2, []) and line.startswith(f"dsbench: {sentence}")


# -- the plot -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "magic"), [("a.png", b"\x89PNG"), ("a.SVG", b"<?xml")])
def test_plot(history: History, tmp_path: Path, name: str, magic: bytes) -> None:
    pytest.importorskip("matplotlib")
    written(tmp_path / "runs")
    code, out, err = history("rms_norm", "--plot", name)
    assert (code, err, out[-1]) == (0, [], f"drawn to {name}")
    assert (tmp_path / name).read_bytes().startswith(magic)


def test_plot_of_what_never_passed(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    plot(collect(runs([[case(None, status="skipped")]])), tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 0


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("a.doc", "--plot: a.doc is not .png or .svg; "), ("no/a.png", "--plot: cannot write no/a.png: No such file or directory")],
)
def test_plots_that_cannot_be_written(history: History, tmp_path: Path, name: str, sentence: str) -> None:
    pytest.importorskip("matplotlib")
    written(tmp_path / "runs")
    code, out, (line,) = history("rms_norm", "--plot", name)
    assert (code, out) == (2, []) and line.startswith(f"dsbench: {sentence}")


def test_without_matplotlib(history: History, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    written(tmp_path / "runs")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    code, out, err = history("rms_norm", "--plot", "a.png")
    assert (code, out, err) == (2, [], ["dsbench: --plot needs matplotlib; pip install pytest-dsbench[report] brings it"])
    assert "--plot" not in history("rms_norm")[1][-1]


def test_with_matplotlib_a_plot_is_offered(history: History, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    written(tmp_path / "runs")
    assert history("rms_norm")[1][-1] == "--plot FILE draws this"


def test_a_plot_of_another_kind_is_refused_before_it_is_drawn(tmp_path: Path) -> None:
    with pytest.raises(Mistake, match="is not .png or .svg"):
        plot([], tmp_path / "a.pdf")


def test_files_are_read_as_they_were_written(tmp_path: Path) -> None:
    paths = write(tmp_path, [[case(seconds)] for seconds in STEPPED])
    (series,) = collect(read(path) for path in paths)
    assert [point.timed for point in series.points] == STEPPED
