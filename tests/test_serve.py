"""The command serve with its corrected model: what it prints, writes and draws, and what it refuses."""

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from reported import header, record, write
from test_plots import check_apart, check_inside, said

from pytest_dsbench.__main__ import main
from pytest_dsbench.case import Case
from pytest_dsbench.commands import serving_grid, serving_options
from pytest_dsbench.hardware import Hardware, named
from pytest_dsbench.mistake import Mistake
from pytest_dsbench.report.plots import pareto
from pytest_dsbench.serving.configuration import Configuration
from pytest_dsbench.serving.estimate import estimate
from pytest_dsbench.serving.grid import Grid
from pytest_dsbench.serving.model.architecture import named as model_named
from pytest_dsbench.serving.precision import named as precision_named
from pytest_dsbench.serving.price.assumed import defaults
from pytest_dsbench.serving.price.nic import named as nic_named
from pytest_dsbench.serving.search import axes
from pytest_dsbench.serving.search.search import Floor, search
from pytest_dsbench.serving.search.wanted import wanted
from pytest_dsbench.shapes import load

Dsbench = Callable[..., tuple[int, list[str], list[str]]]
DEEPSEEK = ("--model", "deepseek_v3")
ONE = (*DEEPSEEK, "--gpu", "h800", "--ep", "144", "--policy", "dual", "--batch", "88")
CPU = Path(__file__).parent / "data" / "run_v3.jsonl"


@pytest.fixture
def dsbench(capsys: pytest.CaptureFixture[str]) -> Dsbench:
    """Runs `dsbench serve`: exit code, lines of stdout, lines of stderr."""

    def running(*arguments: str) -> tuple[int, list[str], list[str]]:
        code = main(("serve", *arguments))
        out, err = capsys.readouterr()
        return code, out.splitlines(), err.splitlines()

    return running


def one(gpu: str = "h800", ep: int = 144, batch: int = 88, **others: Any) -> Configuration:
    model = model_named("deepseek_v3")
    return Configuration(
        **{
            "model": model,
            "gpu": named(gpu),
            "nic": nic_named("cx7"),
            "split": axes.split(model, ep, None, defaults()),
            "precision": precision_named("fp8"),
            "batch": batch,
            "context": 4096,
            **others,
        }
    )


def cells(out: list[str], beginning: str) -> list[list[str]]:
    return [re.split(r"\s{2,}", line) for line in out if line.startswith(beginning)]


# -- the search ---------------------------------------------------------------------------------------------------------------


def test_the_default_is_a_search_of_the_corrected_model(dsbench: Dsbench) -> None:
    code, out, err = dsbench(*DEEPSEEK, "--top", "3")
    assert (code, err) == (0, [])
    assert out[0] == (
        "DeepSeek-V3, decode at a mean context of 4096 tokens, by the corrected model: 20 tokens/s or more for each user"
    )
    text = "\n".join(out)
    assert "computed, not measured" in text and "the first 3 are shown, --csv writes all" in text
    assert "Pareto front, 12 of its" in text and "too slow" in text
    assert "no fp8 unit: of a100 the int8 peak stands in" in text and "no memory on the sheet" not in text
    where = next(number for number, line in enumerate(out) if line.startswith("GPU by GPU"))
    tallies = [re.split(r"\s{2,}", line) for line in out[where + 2 : where + 10]]
    assert [row[0] for row in tallies] == ["h800", "h20", "a100", "l20", "l40s", "h100_sxm", "h200", "gb200"]
    for row in tallies:
        every, *parts = (int(cell.replace(",", "")) for cell in row[2:])
        # 22 numbers of GPUs, two policies, 64 batches.
        assert every == 28 * 2 * 64 == sum(parts)
    assert tallies[-1][1] == cells(out, "gb200")[0][10]


def test_one_configuration_is_its_estimate(dsbench: Dsbench) -> None:
    found = estimate(one(), defaults())
    code, out, _ = dsbench(*ONE)
    row = cells(out, "h800")[0]
    assert code == 0 and row[:10] == ["h800", "cx7", "144", "2", "1", "fp8", "bf16", "dual", "0", "88"]
    assert row[10:12] == [f"{found.per_gpu:.1f}", f"{found.user:.2f}"]
    kernels = sum(term.op is not None for section in found.sections for term in section.terms)
    assert any(line.startswith(f"assumed: the efficiency of {kernels} of its {kernels} kernels") for line in out)
    assert any("rest on measurements: nothing; --run FILE" in line for line in out)


def test_targets_and_phases(dsbench: Dsbench) -> None:
    by_rate = dsbench(*DEEPSEEK, "--gpu", "h20", "--target-tps", "25")[1]
    by_time = dsbench(*DEEPSEEK, "--gpu", "h20", "--target-tpot", "40ms")[1]
    assert by_time[0].endswith("40.0 ms or less per token of each user") and by_time[1:] == by_rate[1:]
    out = dsbench("--model", "qwen3_8b", "--gpu", "h200", "--phase", "prefill", "--target-ttft", "1s")[1]
    assert out[0].endswith("prefill of prompts of 4096 tokens, by the corrected model: 1.00 s or less to the first token")
    assert "TTFT" in out[2] and "TPOT" not in "".join(out)
    out = dsbench("--model", "qwen3_8b", "--gpu", "h200", "--phase", "prefill")[1]
    assert out[0].endswith("the most tokens/s per GPU, however long a user waits")


def test_a_target_that_nothing_reaches(dsbench: Dsbench, tmp_path: Path) -> None:
    code, out, err = dsbench(*DEEPSEEK, "--gpu", "h800", "--target-tps", "1000", "--csv", str(tmp_path / "x.csv"))
    assert (code, err) == (0, [])
    assert out[2].startswith(
        "of 3584 configurations none gives 1000 tokens/s or more for each user; of those that fit the fastest"
    )
    rows = list(csv.DictReader((tmp_path / "x.csv").read_text().splitlines()))
    assert rows and all(row["rank"] == "" and row["front"] == "all" for row in rows)
    code, out, err = dsbench(*DEEPSEEK, "--gpu", "h800", "--target-tps", "1000", "--explain")
    assert (code, out) == (2, []) and err[0].startswith("dsbench: --explain: nothing is fast enough for a user")
    # The only configuration is explained, fast enough or not.
    assert dsbench(*ONE, "--target-tps", "1000", "--explain")[0] == 0


def test_what_was_taken_for_a_shorter_name_is_said(dsbench: Dsbench) -> None:
    _, out, _ = dsbench(*DEEPSEEK, "--gpu", "H100,h800", "--ep", "128", "--batch", "64")
    assert out[0] == "--gpu h100: the data sheet h100_sxm"
    assert {row[0] for row in cells(out, "h")} >= {"h100_sxm", "h800"}


def test_a_sheet_of_ones_own_without_memory_and_changes(dsbench: Dsbench, tmp_path: Path) -> None:
    sheet = tmp_path / "mine.toml"
    sheet.write_text('bandwidth = "3 TB/s"\nsource = "made up"\n[peak]\nbf16 = "900 TFLOP/s"\nfp8 = "1800 TFLOP/s"\n')
    code, _, err = dsbench(*DEEPSEEK, "--gpu", str(sheet), "--ep", "64")
    assert code == 2 and err == ["dsbench: --precision fp8/bf16: mine has no fp32 unit; its sheet has bf16, fp8"]
    sheet.write_text(sheet.read_text() + 'fp32 = "50 TFLOP/s"\n')
    _, out, _ = dsbench(*DEEPSEEK, "--gpu", str(sheet), "--ep", "64", "--tp", "1,2", "--assume", "efficiency.gemm.memory=0.9")
    # It has no link, so that no two of them share heads; nothing else is in the way.
    assert cells(out, "mine  ")[-1][2:] == ["256", "0", "128", "0", *cells(out, "mine  ")[-1][6:]]
    text = "\n".join(out)
    assert "no memory on the sheet of mine: whether anything fits there was not checked" in text
    assert "changed by --assume: efficiency.gemm.memory = 0.9" in text


def test_models_from_a_config(dsbench: Dsbench, tmp_path: Path) -> None:
    config = {
        "model_type": "qwen3", "hidden_size": 1024, "num_hidden_layers": 4, "vocab_size": 1000, "num_attention_heads": 8,
        "num_key_value_heads": 4, "head_dim": 128, "intermediate_size": 2048, "max_position_embeddings": 8192,
        "tie_word_embeddings": True, "hidden_act": "silu", "use_sliding_window": False, "invented": 1,
    }  # fmt: skip
    path = tmp_path / "small" / "config.json"
    path.parent.mkdir()
    path.write_text(json.dumps(config))
    code, _, err = dsbench("--config", str(path), "--gpu", "l20")
    assert code == 2 and "invented" in err[0]
    code, out, err = dsbench("--config", str(path), "--ignore-field", "invented", "--gpu", "l20", "--tp", "1,4")
    assert (code, err) == (0, []) and out[0].startswith("small, decode")
    assert cells(out, "l20")[0][1:4] == ["-", "-", "-"]


# -- what rests on runs -------------------------------------------------------------------------------------------------------


def run_of_some(folder: Path, hw: str = "h800", **changes: Any) -> Path:
    """Every second shape of the configuration at 30 % of T_SOL."""
    head = header(hw).replace(**changes)
    ops = wanted(estimate(one(), defaults())).shapes[::2]
    cases = [Case(op=op, label=f"case{number}", path="mine.toml", line=number) for number, op in enumerate(ops)]
    return write(folder, head, [record(case, head, 0.3) for case in cases])


def test_efficiencies_of_a_run(dsbench: Dsbench, tmp_path: Path) -> None:
    path = run_of_some(tmp_path)
    before, after = (dsbench(*ONE, *more)[1] for more in ((), ("--run", str(path))))
    share = next(line for line in after if "rest on measurements: " in line)
    percent = re.search(r"measurements: ([\d.]+) % measured", share)
    assert percent is not None and 5 < float(percent[1]) < 95
    count = re.search(r"efficiency of (\d+) of its (\d+) kernels", "\n".join(after))
    assert count is not None and int(count[1]) < int(count[2])
    assert cells(after, "h800")[0][10] != cells(before, "h800")[0][10]
    carried = dsbench(*ONE[:3], "h20", *ONE[4:], "--run", str(path))[1]
    assert any(re.search(r"measurements: [\d.]+ % carried$", line) for line in carried)


def test_shapes_that_no_run_has_measured(dsbench: Dsbench, tmp_path: Path) -> None:
    path = run_of_some(tmp_path / "runs")
    every = set(wanted(estimate(one(), defaults())).shapes)
    code, out, _ = dsbench(*ONE, "--shapes", str(tmp_path / "all"))
    assert code == 0 and any(line.startswith(f"{len(every)} shapes of ") for line in out)
    assert {case.op for case in load([tmp_path / "all"]).cases} == every
    assert dsbench(*ONE, "--run", str(path), "--shapes", str(tmp_path / "rest"))[0] == 0
    rest = {case.op for case in load([tmp_path / "rest"]).cases}
    assert rest == every - set(wanted(estimate(one(), defaults())).shapes[::2])
    code, _, err = dsbench(*ONE, "--shapes", str(tmp_path / "all"))
    assert code == 2 and "has shape files already" in err[0]


def test_the_shapes_are_collected(dsbench: Dsbench, pytester: pytest.Pytester) -> None:
    assert dsbench(*ONE, "--shapes", str(pytester.path / "wanted"))[0] == 0
    pytester.makepyfile(bench_mm='from pytest_dsbench import bench\n\nbench_matmul = bench("matmul")\n')
    found = pytester.runpytest(
        "--collect-only", "-q", "-o", "dsbench_shapes=wanted", "-o", "python_files=bench_*.py", "bench_mm.py"
    )
    found.stdout.fnmatch_lines(["*bench_matmul*m44-n256-k7168*"])


def test_a_run_of_a_cpu_says_nothing_about_a_gpu(dsbench: Dsbench) -> None:
    code, out, err = dsbench(*ONE, "--run", str(CPU))
    assert (code, out) == (2, [])
    assert err == [f"dsbench: --run {CPU}: of cpu, a CPU, whose times say nothing about a GPU"]


def test_broken_lines_and_imported_runs_are_named(dsbench: Dsbench, tmp_path: Path) -> None:
    path = run_of_some(tmp_path)
    with path.open("a") as file:
        file.write("{broken\n")
    code, out, err = dsbench(*ONE, "--run", str(path))
    assert code == 0 and out and len(err) == 1 and err[0].startswith(f"dsbench: {path}:")
    imported = run_of_some(tmp_path / "imported", imported="table.csv")
    code, out, err = dsbench(*ONE, "--run", str(imported))
    assert code == 0 and len(err) == 1 and err[0].startswith(f"dsbench: {imported}: imported")
    assert any("rest on measurements: nothing; --shapes DIR" in line for line in out)
    headless = tmp_path / "headless.jsonl"
    headless.write_text(path.read_text().split("\n", 1)[1])
    code, out, err = dsbench(*ONE, "--run", str(headless))
    assert (code, out) == (2, []) and "no header, which names the device" in err[-1]


# -- files --------------------------------------------------------------------------------------------------------------------


def test_files_are_written(dsbench: Dsbench, tmp_path: Path) -> None:
    names = {"--csv": "new/rows.csv", "--plot": "front.svg", "--timeline": "layer.svg"}
    files = [word for option, name in names.items() for word in (option, str(tmp_path / name))]
    arguments = (*DEEPSEEK, "--gpu", "h800,h100,l20", "--ep", "144", "--batch", "8:128:8", *files)
    code, out, err = dsbench(*arguments, "--assume", "link.rdma=0.7")
    assert (code, err) == (0, []) and all((tmp_path / name).stat().st_size > 500 for name in names.values())
    assert f"written: {tmp_path / 'new/rows.csv'}" in out and f"drawn to {tmp_path / 'front.svg'}" in out
    text = (tmp_path / "front.svg").read_text()
    # GPUs that reach the same have one line with both names.
    assert "h800, h100_sxm" in text and "computed by dsbench serve, not measured" in text
    assert "Nothing fits on l20." in text or ">l20<" in text
    assert "changed: link.rdma = 0.7" in text and "Floor: 20 tokens/s or more for each user" in text


@pytest.mark.parametrize(
    ("gpus", "batches", "floor"),
    [
        ("h800,h20,a100,l20,l40s,h100_sxm,h200,gb200,b200,xpu_a", (8, 64, 256), Floor(of="tps", value=20)),
        ("h800,h100_sxm", (16,), Floor(of="tpot", value=1e-3)),
        ("gb200", tuple(range(8, 513, 8)), None),
        ("l40s,l20", tuple(range(1, 9)), Floor(of="tps", value=900)),
    ],
)
def test_the_picture_can_be_read(gpus: str, batches: tuple[int, ...], floor: Floor | None) -> None:
    model = model_named("deepseek_v3")
    grid = Grid(
        model=model,
        gpus=tuple(map(named, gpus.split(","))),
        nics=(nic_named("cx7"),),
        splits=tuple(axes.split(model, ep, None, defaults()) for ep in (64, 144, 320)),
        tps=(1,),
        precisions=(precision_named("fp8"),),
        policies=("naive", "dual"),
        mtps=(0, 1),
        batches=batches,
        context=4096,
    )
    found = search(grid, defaults(), floor=floor)
    figure = pareto.fronts(found, defaults(), [Path("runs/one.jsonl")])
    check_inside(figure)
    (plot,) = figure.axes
    check_apart(figure, [*figure.texts, *figure.legends[0].get_texts(), plot.xaxis.label, plot.yaxis.label])
    words = said(figure)
    assert "Efficiencies of one.jsonl; all others assumed" in words and "not measured" in words
    lines = [line for line in plot.lines if line.get_gid() == "front"]
    drawn = sum((name in words) for name in gpus.split(","))
    assert drawn == len(gpus.split(",")) and len({(line.get_color(), line.get_marker()) for line in lines}) == len(lines)
    low, high = plot.get_xlim()
    assert all(low < x < high for line in lines for x in line.get_xdata())
    floors = [line for line in plot.lines if line.get_gid() == "floor"]
    assert len(floors) == (floor is not None)
    if floor is not None:
        assert floors[0].get_xdata()[0] == pytest.approx(floor.user(1.0)) and low < floors[0].get_xdata()[0] < high


def test_explain_and_deployments(dsbench: Dsbench) -> None:
    code, out, _ = dsbench(*ONE, "--explain")
    assert code == 0 and out[0].startswith("DeepSeek-V3 on NVIDIA H800") and not any("Pareto" in line for line in out)
    code, out, _ = dsbench(*DEEPSEEK, "--gpu", "h800", "--ep", "128,144", "--explain")
    where = out.index("the best of them")
    assert code == 0 and any("Pareto" in line for line in out[:where])
    assert out[where + 2].startswith("DeepSeek-V3 on NVIDIA H800")
    code, out, _ = dsbench("--deployments")
    assert code == 0 and sum("%" in line for line in out) >= 3
    changed = dsbench("--deployments", "--assume", "link.rdma=0.4")[1]
    assert changed != out and len(changed) >= 5


# -- mistakes -----------------------------------------------------------------------------------------------------------------

FIRST_GPUS = "known: a100, b200, gb200, "


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "serve: expected --model and one of deepseek_r1, deepseek_v3, "),
        (("--model", "deepseek_v4"), "unknown model 'deepseek_v4'; did you mean 'deepseek_v3'?"),
        ((*DEEPSEEK, "--config", "x.json"), "--config: --model names a model already; leave one of them out"),
        ((*DEEPSEEK, "--gpu", "h801"), f"unknown GPU 'h801'; did you mean 'h800'? {FIRST_GPUS}"),
        ((*DEEPSEEK, "--gpu", "gb2"), "unknown GPU 'gb2'; did you mean 'gb200'? "),
        ((*DEEPSEEK, "--gpu", "h800,"), "unknown GPU ''; "),
        ((*DEEPSEEK, "--nic", "cx9"), "unknown NIC 'cx9'; did you mean 'cx"),
        ((*DEEPSEEK, "--precision", "fp6"), "--precision: unknown precision 'fp6'; did you mean 'fp8'?"),
        ((*DEEPSEEK, "--cache", "int8"), "--cache: unknown precision of the cache 'int8'; known: bf16, fp8"),
        ((*DEEPSEEK, "--policy", "duel"), "--policy: unknown policy 'duel'; did you mean 'dual'?"),
        ((*DEEPSEEK, "--phase", "deocde"), "--phase: unknown phase 'deocde'; did you mean 'decode'?"),
        ((*DEEPSEEK, "--assume", "efficiency.gem.memory=1"), "--assume 'efficiency.gem.memory=1': unknown assumption"),
        ((*DEEPSEEK, "--assume", "efficiency.gemm.memory=1.1"), "--assume 'efficiency.gemm.memory=1.1': 1.1 cannot be; expected"),
        ((*DEEPSEEK, "--assume", "link.rdma"), "--assume 'link.rdma': expected NAME=VALUE"),
        ((*DEEPSEEK, "--ep", "100"), "--ep 100: does not divide the 256 or 288 or 320 experts of deepseek_v3; "),
        ((*DEEPSEEK, "--ep", "0"), "--ep '0': expected whole numbers from 1 to 1000000"),
        ((*DEEPSEEK, "--batch", "0"), "--batch '0': expected whole numbers from 1"),
        ((*DEEPSEEK, "--batch=-8"), "--batch '-8': expected whole numbers from 1"),
        ((*DEEPSEEK, "--batch", "many"), "--batch 'many': expected whole numbers from 1"),
        ((*DEEPSEEK, "--batch", "1:2:3:4"), "--batch '1:2:3:4': expected whole numbers from 1"),
        ((*DEEPSEEK, "--batch", "8:64:0"), "--batch '8:64:0': expected whole numbers from 1"),
        ((*DEEPSEEK, "--batch", "9" * 5000), "--batch '999"),
        ((*DEEPSEEK, "--batch", "1:99999999999"), "--batch '1:99999999999': expected whole numbers from 1"),
        ((*DEEPSEEK, "--batch", "1:1000000"), "448,000,000 configurations with 1,000,000 batches are too many; "),
        ((*DEEPSEEK, "--target-tps", "nan"), "--target-tps nan: expected tokens per second above zero"),
        ((*DEEPSEEK, "--target-tps", "0"), "--target-tps 0: expected tokens per second above zero"),
        ((*DEEPSEEK, "--target-tpot=-5ms"), "--target-tpot '-5ms': expected a time above zero, such as 50ms"),
        ((*DEEPSEEK, "--target-tpot", "nan"), "--target-tpot 'nan': expected a time above zero"),
        ((*DEEPSEEK, "--target-tpot", "50"), "--target-tpot '50': expected a time above zero"),
        ((*DEEPSEEK, "--target-tpot", "1e999s"), "--target-tpot '1e999s': expected a time above zero"),
        ((*DEEPSEEK, "--target-tps", "9", "--target-tpot", "1s"), "--target-tpot: --target-tps is a target already; "),
        ((*DEEPSEEK, "--target-ttft", "1s"), "--target-ttft: decode has no such target; expected --target-tps or --target-tpot"),
        (
            (*DEEPSEEK, "--phase", "prefill", "--target-tps", "9"),
            "--target-tps: prefill has no such target; expected --target-ttft",
        ),
        ((*DEEPSEEK, "--phase", "prefill", "--mtp", "1"), "--mtp 1: tokens are guessed in decode; "),
        ((*DEEPSEEK, "--tp", "3"), "--tp 3: does not divide the 128 query heads of deepseek_v3"),
        ((*DEEPSEEK, "--gpu", "h800", "--tp", "16"), "--tp 16: of h800 only 8 reach each other over a link"),
        ((*DEEPSEEK, "--gpu", "h800", "--ep", "9", "--tp", "2"), "--tp 2: does not divide --ep 9; "),
        ((*DEEPSEEK, "--gpu", "h800", "--precision", "fp4"), "--precision fp4/bf16: h800 has no fp4 unit; "),
        ((*DEEPSEEK, "--context", "0"), "--context 0: expected a number of tokens of at least 1"),
        ((*DEEPSEEK, "--context", "9999999"), "--context 9999999: deepseek_v3 has 163840 positions"),
        ((*DEEPSEEK, "--redundant", "-1"), "--redundant -1: expected how many of the 256 experts stand twice, 0 to 256"),
        ((*DEEPSEEK, "--ep", "64", "--redundant", "1"), "--ep 64: does not divide the 257 experts of deepseek_v3; "),
        (("--model", "qwen3_8b", "--ep", "8"), "--ep 8: qwen3_8b is dense and has no experts to share; "),
        (("--model", "qwen3_8b", "--redundant", "8"), "--redundant 8: qwen3_8b is dense"),
        (("--model", "qwen3_8b", "--mtp", "1"), "--mtp 1: qwen3_8b has no layer that guesses tokens"),
        ((*DEEPSEEK, "--top", "0"), "--top 0: expected at least 1"),
        ((*DEEPSEEK, "--moe-discount"), "--moe-discount: the corrected variant has no such option; "),
        (("--variant", "published", "--tp", "2"), "--tp: the published variant has no such option; "),
        (("--deployments", *DEEPSEEK), "--model: --deployments has configurations of its own; "),
        ((*DEEPSEEK, "--run", "nowhere.jsonl"), "nowhere.jsonl: no such run file"),
        ((*DEEPSEEK, "--plot", "x.pdf"), "--plot: x.pdf is not .png or .svg"),
        ((*DEEPSEEK, "--plot", "nowhere/x.png"), "--plot: cannot write nowhere/x.png: no such folder"),
        ((*DEEPSEEK, "--timeline", "nowhere/x.png"), "--timeline: cannot write nowhere/x.png: no such folder"),
        ((*DEEPSEEK, "--csv", "."), "--csv: cannot write .: Is a directory"),
        ((*DEEPSEEK, "--csv", f"{CPU}/x.csv"), f"--csv: cannot write {CPU}/x.csv: {CPU} is no folder"),
        ((*DEEPSEEK, "--shapes", str(CPU)), f"--shapes {CPU} is a file; expected a new folder"),
        (
            (*DEEPSEEK, "--gpu", "l20", "--ep", "16"),
            "none of 128 configurations fits; the nearest: deepseek_v3 does not fit on l20: ",
        ),
        ((*ONE[:-1], "512"), "deepseek_v3 does not fit on h800: weights "),
        ((*DEEPSEEK, "--gpus", "h800"), "unknown argument of serve '--gpus'; did you mean '--gpu'?"),
    ],
)
def test_mistakes_are_one_sentence(dsbench: Dsbench, arguments: tuple[str, ...], sentence: str) -> None:
    code, out, err = dsbench(*arguments)
    assert (code, out, len(err)) == (2, [], 1) and err[0].startswith(f"dsbench: {sentence}")
    assert len(err[0]) < 1000


def test_what_does_not_fit_says_by_how_much_and_what_would(dsbench: Dsbench) -> None:
    _, _, (sentence,) = dsbench(*ONE[:-1], "512")
    largest = re.search(r"batch (\d+)", sentence)
    assert largest is not None
    fitting = int(largest[1])
    assert estimate(one(batch=fitting), defaults()).fits and not estimate(one(batch=fitting + 1), defaults()).fits
    found = estimate(one(batch=512), defaults())
    assert f"{(found.need.total - 72e9) / 1e9:.0f} GB more than the 72.0 GB that may be used" in sentence


# -- one configuration for other commands -------------------------------------------------------------------------------------


def parsed(*arguments: str, gpu: Hardware | None = None) -> Configuration:
    import argparse

    parser = argparse.ArgumentParser()
    serving_options.add_configuration_options(parser)
    given = parser.parse_args([*arguments])
    given.name = "impact"
    return serving_grid.configuration(given, serving_options.assumed(given), gpu)


def test_a_configuration_out_of_options() -> None:
    arguments = (*DEEPSEEK, "--ep", "144", "--batch", "88")
    assert parsed(*arguments, "--gpu", "h800") == one() == parsed(*arguments, gpu=named("h800"))
    assert parsed(*arguments, "--gpu", "h20", gpu=named("h800")).gpu.name == "h20"
    assert parsed("--model", "qwen3_8b", "--gpu", "l20", "--batch", "1").split is None
    for wrong, sentence in (
        ((*arguments, "--gpu", "h800,h20"), "^--gpu: impact takes one configuration; expected one value, not 2$"),
        ((*arguments, "--gpu", "h800", "--mtp", "0,1"), "^--mtp: impact takes one configuration"),
        (arguments, "^--gpu: expected the name or the path of a data sheet"),
    ):
        with pytest.raises(Mistake, match=sentence):
            parsed(*wrong)


def test_what_is_not_given_is_the_fewest_gpus_that_hold_the_model() -> None:
    found = parsed(*DEEPSEEK, "--gpu", "h800", "--batch", "100")
    assert found.split is not None and (found.batch, found.context, found.policy) == (100, 4096, "dual")
    fewer = [ep for ep in axes.eps(found.model) if ep < found.split.ep]
    smaller = [found.replace(split=axes.split(found.model, ep, None, defaults())) for ep in fewer]
    assert smaller and estimate(found, defaults()).fits and not any(estimate(one, defaults()).fits for one in smaller)
    assert parsed("--model", "qwen3_8b", "--gpu", "l20").policy == "naive", "a dense model has no network to hide"
    shared = parsed(*DEEPSEEK, "--gpu", "h800", "--tp", "8")
    assert shared.split is not None and shared.split.ep % 8 == 0
    # Where nothing holds it, what is said is about the most GPUs.
    assert not estimate(parsed(*DEEPSEEK, "--gpu", "h800", "--batch", "5000"), defaults()).fits


def test_two_sheets_of_one_name_are_refused(dsbench: Dsbench, tmp_path: Path) -> None:
    text = 'bandwidth = "3 TB/s"\nsource = "made up"\n[peak]\nbf16 = "900 TFLOP/s"\nfp8 = "1800 TFLOP/s"\n'
    for folder, bandwidth in (("a", "3 TB/s"), ("b", "4 TB/s")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.toml").write_text(text.replace("3 TB/s", bandwidth))
    paths = f"{tmp_path / 'a' / 'mine.toml'},{tmp_path / 'b' / 'mine.toml'}"
    code, _, err = dsbench(*DEEPSEEK, "--gpu", paths)
    assert code == 2 and err == ["dsbench: --gpu: two data sheets that differ are called mine; rename one of the files"]
    assert dsbench(*DEEPSEEK, "--gpu", "h800,H800", "--ep", "144")[0] == 0
