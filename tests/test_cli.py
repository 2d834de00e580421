"""The command line: what it prints where, and its exit codes."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trace_made

import pytest_dsbench
from pytest_dsbench.__main__ import main
from pytest_dsbench.hardware import Hardware, sheets
from pytest_dsbench.operators import everything, find
from pytest_dsbench.roofline import bound
from pytest_dsbench.units import show_seconds

Dsbench = Callable[..., tuple[int, list[str], list[str]]]
ROOT = Path(__file__).parent.parent
TOY = Hardware(name="cpu", title="Toy CPU", kind="cpu", peak={"fp32": 1e9}, bandwidth=1e9, source="measured here")


@pytest.fixture
def dsbench(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Dsbench:
    """Runs a command with an empty cache of peaks: exit code, lines of stdout, lines of stderr."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def running(*arguments: str) -> tuple[int, list[str], list[str]]:
        try:
            code = main(arguments)
        except SystemExit as exit_:
            code = int(exit_.code or 0)
        out, err = capsys.readouterr()
        return code, out.splitlines(), err.splitlines()

    return running


# -- hardware -----------------------------------------------------------------------------------------------------------------


def test_hardware(dsbench: Dsbench) -> None:
    code, out, err = dsbench("hardware")
    assert (code, err) == (0, [])
    for name, sheet in sheets().items():
        peaks, ridges = (line.split() for line in out if line.startswith(f"{name} "))
        for unit in sheet.peak:
            assert f"{sheet.peak[unit] / 1e12:,.5g}" in peaks
            assert f"{sheet.ridge(unit):.5g}" in ridges
    assert "ridge points in FLOP/byte: below, memory binds; above, compute" in out
    gb200 = [line.split() for line in out if line.startswith("gb200 ")][1]
    assert {"1125", "562.5", "281.25"} <= set(gb200)
    assert out[-1] == "this CPU's roof is not measured yet; dsbench hardware --measure does it"


def test_hardware_measured(dsbench: Dsbench, monkeypatch: pytest.MonkeyPatch) -> None:
    peaks = pytest.importorskip("pytest_dsbench.peaks")
    monkeypatch.setattr(peaks, "measure", lambda: TOY)
    code, out, _ = dsbench("hardware", "--measure")
    assert (code, out[-1]) == (0, "cpu: measured here")
    assert any(line.startswith("cpu ") and "Toy CPU" in line for line in out)
    monkeypatch.setattr(peaks, "cached", lambda: TOY)
    assert dsbench("hardware")[1] == out


def test_hardware_without_torch(dsbench: Dsbench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pytest_dsbench.peaks", None)
    monkeypatch.delattr(pytest_dsbench, "peaks", raising=False)
    code, out, err = dsbench("hardware")
    assert (code, err) == (0, [])
    assert out[-1].startswith("this CPU's roof: measuring it needs ")


# -- roofline -----------------------------------------------------------------------------------------------------------------


def test_roofline_side_by_side(dsbench: Dsbench) -> None:
    code, out, err = dsbench("roofline", "rms_norm", "tokens=4096", "hidden=7168", "--hw", "h20, gb200")
    assert (code, err) == (0, [])
    op = find("rms_norm").build({"tokens": 4096, "hidden": 7168})
    assert out[0] == "rms_norm tokens4096-hidden7168"
    assert out[1] == "read 58.7 MB, written 58.7 MB; 88.1 MFLOP fp32; 0.7499 FLOP/B"
    assert [line.split()[0] for line in out[3:]] == ["h20", "gb200"]
    for line in out[3:]:
        name = line.split()[0]
        limit = bound(op.work(), sheets()[name])
        assert f" {show_seconds(limit.seconds)}  {limit.regime}" in line


def test_roofline_on_all_devices_that_have_the_unit(dsbench: Dsbench) -> None:
    _, out, _ = dsbench("roofline", "block_scaled_mm", "m=1", "n=128", "k=128")
    able = [name for name, sheet in sheets().items() if "fp8" in sheet.peak]
    assert [line.split()[0] for line in out[3:-1]] == able
    assert out[-1] == "no bound on a100: no peak for fp8"
    assert "no bound" not in "\n".join(dsbench("roofline", "rms_norm", "tokens=1", "hidden=1")[1])


def test_roofline_of_lists_on_the_cpu(dsbench: Dsbench, monkeypatch: pytest.MonkeyPatch) -> None:
    peaks = pytest.importorskip("pytest_dsbench.peaks")
    monkeypatch.setattr(peaks, "sheet", lambda: TOY.replace(peak={"bf16": 1e9}))
    arguments = ("attention_forward", "heads=1", "head_dim=2", "seq_lens=3,3", "--hw", "cpu")
    code, out, _ = dsbench("roofline", *arguments)
    assert (code, out[0]) == (0, "attention_forward heads1-head_dim2-seq_lens3x2")
    assert out[3].startswith("cpu ")


def test_roofline_on_a_sheet_of_ones_own(dsbench: Dsbench, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('bandwidth = "1 GB/s"\nsource = "me"\n[peak]\nfp32 = "1 TFLOP/s"\n')
    code, out, _ = dsbench("roofline", "rms_norm", "tokens=1", "hidden=500", "--hw", str(path))
    # 1000 bytes of x, of the weight and of the result.
    assert (code, out[3].split()[:4]) == (0, ["mine", "3.00", "us", "memory"])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("rms_nrom", "tokens=1"), "dsbench: unknown operator 'rms_nrom'; did you mean 'rms_norm'? known: attention_forward,"),
        (("rms_norm", "tokens"), "dsbench: 'tokens' is not a dimension; expected dim=value, such as tokens=4096"),
        (("rms_norm", "tokns=1"), "dsbench: unknown dimension of rms_norm 'tokns'; did you mean 'tokens'?"),
        (("rms_norm", "tokens=0", "hidden=1"), "dsbench: rms_norm: dimension 'tokens' is 0; expected int >= 1"),
        (("rms_norm", "tokens=x", "hidden=1"), "dsbench: rms_norm: dimension 'tokens' is 'x'; expected int, got str"),
        (("rms_norm", "tokens=1"), "dsbench: rms_norm: "),
        (("rms_norm", "tokens=1", "hidden=1", "--hw", "h21"), "dsbench: unknown GPU 'h21'; did you mean 'h20'?"),
        (("rms_norm", "tokens=1", "hidden=1", "--hw", "nowhere.toml"), "dsbench: cannot read the data sheet nowhere.toml"),
        (("block_scaled_mm", "m=1", "n=128", "k=128", "--hw", "a100"), "dsbench: a100 ("),
    ],
)
def test_mistakes_are_one_sentence_on_stderr(dsbench: Dsbench, arguments: tuple[str, ...], sentence: str) -> None:
    code, out, err = dsbench("roofline", *arguments)
    assert (code, out, len(err)) == (2, [], 1)
    assert err[0].startswith(sentence)


# -- shapes and operators -----------------------------------------------------------------------------------------------------


def test_shapes(dsbench: Dsbench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    code, out, err = dsbench("shapes")
    assert (code, err) == (0, []) and out[-1] == f"{len(out) - 2} cases" and len(out) >= 202
    code, some, _ = dsbench("shapes", "rms_norm")
    assert some[-1] == f"{len(some) - 2} cases" and 2 < len(some) < len(out)
    assert {line.split()[0] for line in some[1:-1]} == {"rms_norm"}
    assert some[1].split() == ["rms_norm", "tokens2500-hidden1024", "production", "vLLM", "shapes/norm/rms_norm.toml:10"]


def test_shapes_of_ones_own_with_a_broken_row(dsbench: Dsbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.toml").write_text('operator = "rms_norm"\ncase = [\n{ tokens = 1, hidden = 2 },\n{ tokens = 0, hidden = 2 }]\n')
    Path("b.toml").write_text("operator = ")
    code, out, err = dsbench("shapes", "--path", "a.toml", "--path", "b.toml")
    assert [line.split() for line in out[1:]] == [["rms_norm", "tokens1-hidden2", "-", "-", "a.toml:3"], ["1", "cases"]]
    assert code == 2
    assert err == [
        "dsbench: a.toml:4: rms_norm: dimension 'tokens' is 0; expected int >= 1",
        "b.toml:1: not TOML: Invalid value (at end of document)",
    ]


def test_shapes_of_an_unknown_operator(dsbench: Dsbench) -> None:
    code, out, err = dsbench("shapes", "rms_nrom")
    assert (code, out) == (2, []) and err[0].startswith("dsbench: unknown operator 'rms_nrom'")


def test_operators(dsbench: Dsbench) -> None:
    code, out, err = dsbench("operators")
    assert (code, err) == (0, [])
    assert [line.split()[0] for line in out[1:]] == sorted(everything())
    (line,) = (line for line in out if line.startswith("rms_norm "))
    assert "tokens hidden dtype=bf16 eps=1e-06" in line and "torch" in line.split() and "triton" in line.split()


def test_the_published_score_needs_the_shape_files_alone(dsbench: Dsbench) -> None:
    code, out, err = dsbench("score", "--published")
    assert (code, err) == (0, [])
    assert "score, published: 14.28 % raw, 13.04 % normalised; 30 of 30 operators, importance 1.09478 of 1.09478" in out
    assert "43 of 440 rows take less than 8.00 us: launches; without them:" in out


# -- the process --------------------------------------------------------------------------------------------------------------


def test_help(dsbench: Dsbench) -> None:
    code, out, err = dsbench("--help")
    assert (code, err) == (0, []) and out[0].startswith("usage: dsbench")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("laier",), "dsbench: unknown command 'laier'; did you mean 'layer'? known: baseline, compare, "),
        (("baseline", "shwo"), "dsbench: baseline: unknown action 'shwo'; did you mean 'show'? known: accept, prune, show"),
        (("roofline",), "dsbench: roofline: the following arguments are required: operator"),
        (("layer", "--batch", "x"), "dsbench: layer: argument --batch: invalid int value: 'x'"),
        (
            (),
            "dsbench: expected a command: hardware, roofline, shapes, operators, doctor, layer, serve, impact, score, report,"
            " compare, ",
        ),
        (("--measure",), "dsbench: unknown argument '--measure'; known: baseline, "),
        (
            ("score", "--publised=x"),
            "dsbench: unknown argument of score '--publised'; did you mean '--published'? known: --help, --provider, --published",
        ),
    ],
)
def test_mistyped_arguments(dsbench: Dsbench, arguments: tuple[str, ...], sentence: str) -> None:
    code, out, (line,) = dsbench(*arguments)
    assert (code, out) == (2, []) and line.startswith(sentence)


def process(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "pytest_dsbench", *arguments], text=True, capture_output=True, **options)


def test_as_a_module() -> None:
    done = process("roofline", "rms_norm", "tokens=1", "hidden=1", "--hw", "h20")
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.startswith("rms_norm tokens1-hidden1\n")
    done = process("roofline", "rms_norm", "tokens=1", "hidden=1", "--hw", "h21")
    assert (done.returncode, done.stdout) == (2, "") and done.stderr.startswith("dsbench: unknown GPU")


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("command", ["operators", "shapes"])
def test_a_reader_that_has_seen_enough(command: str, unbuffered: str) -> None:
    """The reading end of the pipe is closed long before anything is written."""
    line = f"{sys.executable} -m pytest_dsbench {command} | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", line], text=True, capture_output=True, env={**os.environ, "PYTHONUNBUFFERED": unbuffered}
    )
    assert (done.returncode, done.stderr) == (0, "")


#: Commands that only read files, each in a folder with a run and a trace.
READING = {
    "report": ["report", "run.jsonl", "--out", "out"],
    "score": ["score", "run.jsonl"],
    "profile": ["profile", "deepseek_d4", "--plot", "layer.png"],
    "import": ["import", "published", "--out", "imported"],
    "trace": ["trace", "trace.json", "--shapes", "shapes"],
    "serve --variant": ["serve", "--variant", "published", "--csv", "rows.csv"],
    "serve": ["serve", "--model", "deepseek_v3", "--gpu", "h800", "--csv", "rows.csv", "--plot", "front.png", "--explain"],
    "impact": ["impact", "--model", "deepseek_v3", "--gpu", "h800", "--ep", "144", "--batch", "88", "--csv", "todo.csv"],
}


@pytest.mark.parametrize("command", READING)
def test_what_only_reads_files_needs_no_torch(command: str, tmp_path: Path) -> None:
    """Where it cannot even be imported."""
    shutil.copy(ROOT / "tests" / "data" / "run_v3.jsonl", tmp_path / "run.jsonl")
    trace_made.write(tmp_path / "trace.json", trace_made.step(3))
    blocked = "import sys; sys.modules.update(torch=None, triton=None); from pytest_dsbench.__main__ import main; "
    code = f"{blocked}sys.exit(main({READING[command]!r}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "") and done.stdout
