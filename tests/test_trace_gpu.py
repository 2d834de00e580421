"""Traces of a GPU, made by hand in Kineto's format, with totals computed by hand: device time, links, shares, ranks, steps."""

import csv
import json
from pathlib import Path

import pytest
import trace_made as made

from pytest_dsbench.__main__ import main
from pytest_dsbench.hardware import named
from pytest_dsbench.operators import find
from pytest_dsbench.shapes import load
from pytest_dsbench.trace.link import GRAPH, OUTSIDE, UNKNOWN
from pytest_dsbench.trace.mapping import Mapping
from pytest_dsbench.trace.summary import Summary, summarise

#: Of one step of rank 0, in us; what graphs and unrecorded launches took is known by kernel.
STEP = {"matmul": 40, "sgl_kernel::fwd": 60, "silu_and_mul": 30, "aten::add": 10, "graph_k1": 50, "graph_k2": 50}
STEP |= {"pybind_k": 8, "lost_k": 2, "aten::copy_": 5}


def times(summary: Summary) -> dict[str, float]:
    """Microseconds by operator, operation or kernel, whichever names it."""
    return {line.key.name or line.key.operator: pytest.approx(line.seconds * 1e6) for line in summary.lines}


@pytest.fixture
def ranks(tmp_path: Path) -> list[Path]:
    """Two ranks, two steps each; the product of rank 1 takes twice as long."""
    both = []
    for rank in (0, 1):
        events = [event for number in (3, 4) for event in made.step(number, gemm=40.0 * (1 + rank))]
        both.append(made.write(tmp_path / f"rank{rank}.json", events, rank))
    return both


def test_every_kernel_counts_once(ranks: list[Path]) -> None:
    summary = summarise(ranks[:1], Mapping())
    assert times(summary) == {name: 2 * us for name, us in STEP.items()}
    assert summary.seconds == pytest.approx(2 * 255e-6)
    assert sum(summary.share(line.seconds) for line in summary.lines) == pytest.approx(1)


def test_why_kernels_have_no_operation(ranks: list[Path]) -> None:
    why = {line.key.name: line.key.reason for line in summarise(ranks, Mapping()).of("unmapped")}
    assert why["graph_k1"] == why["graph_k2"] == GRAPH
    assert why["pybind_k"] == OUTSIDE
    assert why["lost_k"] == UNKNOWN


def test_dimensions_are_those_of_the_inputs_not_of_the_grid(ranks: list[Path]) -> None:
    found = {line.key.op: line.calls for line in summarise(ranks, Mapping()).of("mapped")}
    product = find("matmul").build({"m": 16, "n": 3072, "k": 1024})
    activation = find("silu_and_mul").build({"tokens": 16, "hidden": 2048})
    assert found == {product: 4, activation: 4}


def test_grids_are_not_even_read(tmp_path: Path) -> None:
    def cut(event: made.Event, grid: object) -> made.Event:
        if event.get("cat") != "kernel":
            return event
        return {**event, "args": {**event["args"], "grid": grid, "block": grid}}

    sane = made.write(tmp_path / "a.json", made.step(1))
    mad = made.write(tmp_path / "b.json", [cut(event, ["x", None, -1]) for event in made.step(1)])
    one, other = (summarise([path], Mapping()) for path in (sane, mad))
    assert one.lines == other.lines


def test_the_outermost_mapped_operation_has_the_time(ranks: list[Path]) -> None:
    (product,) = [line for line in summarise(ranks, Mapping()).lines if line.key.operator == "matmul"]
    assert product.names == ("aten::linear",)
    assert product.kernels == {"gemm_a": (4, pytest.approx(240e-6))}


def test_the_order_of_events_does_not_matter(tmp_path: Path) -> None:
    events = made.step(3) + made.step(4)
    forth, back = made.write(tmp_path / "a.json", events), made.write(tmp_path / "b.json", events[::-1])
    one, other = (summarise([path], Mapping()) for path in (forth, back))
    assert times(one) == {name: 2 * us for name, us in STEP.items()} == times(other)
    assert {line.key: line.calls for line in one.lines} == {line.key: line.calls for line in other.lines}


def test_busy_time_counts_streams_that_overlap_once(ranks: list[Path]) -> None:
    first, second = summarise(ranks, Mapping()).parts
    # 100 to 200 of a step with attention and activation side by side, then 10 + 100 + 8 + 2 + 5.
    assert [(step.number, step.busy, step.summed) for step in first.steps] == [
        (number, pytest.approx(225e-6), pytest.approx(255e-6)) for number in (3, 4)
    ]
    assert [(step.wall, step.busy, step.summed) for step in second.steps] == [
        (pytest.approx(1000e-6), pytest.approx(225e-6), pytest.approx(295e-6))
    ] * 2


def test_ranks_are_merged_in_calls_and_apart_in_totals(ranks: list[Path]) -> None:
    summary = summarise(ranks, Mapping())
    (product,) = [line for line in summary.lines if line.key.operator == "matmul"]
    assert (product.calls, product.seconds, product.mean) == (4, pytest.approx(240e-6), pytest.approx(60e-6))
    assert product.per_rank == (pytest.approx(40e-6), pytest.approx(80e-6))
    assert product.per_step == ((pytest.approx(40e-6),) * 2, (pytest.approx(80e-6),) * 2)
    assert [part.seconds for part in summary.parts] == [pytest.approx(510e-6), pytest.approx(590e-6)]
    assert summary.share(product.seconds) == pytest.approx(240 / 1100)


def test_steps_can_be_chosen(ranks: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trace", str(ranks[0]), "--steps", "4-9"]) == 0
    out = capsys.readouterr().out
    assert "1 step;" in out
    assert "255 us of time outside of the steps that count is left out" in out
    assert summarise(ranks[:1], Mapping(), "4-9").seconds == pytest.approx(255e-6)


def test_without_steps_a_trace_is_one(tmp_path: Path) -> None:
    events = [event for event in made.step(3) if "ProfilerStep" not in event["name"]]
    summary = summarise([made.write(tmp_path / "a.json", events)], Mapping())
    assert times(summary) == STEP
    (step,) = summary.parts[0].steps
    # From the first annotation to the end of the last operation or copy.
    assert (step.number, step.wall) == (None, pytest.approx((865 - 10) * 1e-6))


def test_what_was_launched_between_steps_is_left_out_and_said(tmp_path: Path) -> None:
    late = [made.launch("cudaLaunchKernel", 35_000, 9), made.kernel("late", 35_010, 7, 9)]
    summary = summarise([made.write(tmp_path / "a.json", made.step(3) + late)], Mapping())
    assert summary.seconds == pytest.approx(255e-6)
    assert summary.parts[0].outside == pytest.approx(7e-6)


def test_a_kernel_belongs_to_the_step_that_launched_it(tmp_path: Path) -> None:
    # It begins long after its step has ended on the host, within the next one.
    events = [made.annotation("ProfilerStep#1", 0, 100), made.annotation("ProfilerStep#2", 100, 100)]
    events += [made.launch("cudaLaunchKernel", 50, 1), made.kernel("k", 150, 10, 1)]
    first, second = summarise([made.write(tmp_path / "a.json", events)], Mapping()).parts[0].steps
    assert (first.summed, second.summed) == (pytest.approx(10e-6), 0)


def test_an_operation_is_found_by_time_where_the_external_id_is_missing(tmp_path: Path) -> None:
    events = [
        made.operation("aten::mm", 10, 50, 1, made.tensor(8, 64), made.tensor(64, 32)),
        made.launch("cudaLaunchKernel", 20, 5),
        made.kernel("gemm", 100, 4, 5),
    ]
    (line,) = summarise([made.write(tmp_path / "a.json", events)], Mapping()).lines
    assert line.key.op == find("matmul").build({"m": 8, "n": 32, "k": 64})


def test_efficiency_is_against_the_sheet_of_the_device(ranks: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trace", *map(str, ranks)]) == 0
    out = capsys.readouterr().out.splitlines()
    (row,) = [line for line in out if line.startswith("matmul")]
    # The weight binds it: 2 bytes an element, over the 60 us that a call takes on average.
    t_sol = 2 * (16 * 1024 + 3072 * 1024 + 16 * 3072) / named("h800").bandwidth
    assert row.split()[-2:] == [f"{100 * t_sol / 60e-6:.1f}", "%"]
    assert "2 files; ranks 0, 1; 4 steps; on NVIDIA H800 (data sheet h800)" in out[0]


def test_the_sums_are_said(ranks: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trace", *map(str, ranks)]) == 0
    out = capsys.readouterr().out
    # (240 + 120) / 1100, 240 / 1100, and the rest: 4 x 125 / 1100.
    assert "mapped 32.73 % + recognised 21.82 % + unmapped 45.45 % = 100.00 % of summed device time" in out
    assert "Streams overlap: shares below are of the summed device time" in out
    assert "ranks: 255 us (rank 0) to 295 us (rank 1) per step, 14.5 % apart" in out
    assert "unified_attention: the lengths of its sequences are contents of tensors" in out


def test_faster_than_light_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = made.write(tmp_path / "a.json", made.step(1, gemm=0.5))
    assert main(["trace", str(path)]) == 0
    assert "faster than light: matmul m16-n3072-k1024 takes 500 ns" in capsys.readouterr().out


def test_shape_files_hold_exactly_the_dimensions(ranks: list[Path], tmp_path: Path) -> None:
    assert main(["trace", *map(str, ranks), "--shapes", str(tmp_path / "shapes")]) == 0
    shapes = load([tmp_path / "shapes"])
    assert not shapes.broken
    product, activation = shapes.cases
    assert product.op == find("matmul").build({"m": 16, "n": 3072, "k": 1024})
    assert activation.op == find("silu_and_mul").build({"tokens": 16, "hidden": 2048})
    assert product.importance == pytest.approx(240 / 1100, rel=1e-5)
    assert activation.importance == pytest.approx(120 / 1100, rel=1e-5)
    assert (product.provenance.calls, product.provenance.trace_us) == (4, pytest.approx(60))
    assert (product.provenance.framework, activation.provenance.framework) == ("torch", "sglang")
    assert (
        product.source == "torch.profiler trace rank0.json, rank 0, steps 3 4; torch.profiler trace rank1.json, rank 1, steps 3 4"
    )


def test_shape_files_are_not_written_over(ranks: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "matmul.toml").write_text("mine")
    command = ["trace", str(ranks[0]), "--shapes", str(tmp_path)]
    assert main(command) == 2
    assert "matmul.toml is there already" in capsys.readouterr().err
    assert not (tmp_path / "silu_and_mul.toml").exists()
    assert (tmp_path / "matmul.toml").read_text() == "mine"
    assert main([*command, "--force"]) == 0
    assert "written over: matmul.toml" in capsys.readouterr().out


def test_the_profile_is_read_back(ranks: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from pytest_dsbench.profile.tomlfile import read

    path = tmp_path / "made.toml"
    assert main(["trace", *map(str, ranks), "--profile", str(path)]) == 0
    profile = read(path.read_text(), str(path))
    assert [device.hw for device in profile.devices] == ["h800"]
    rows = {(row.group, row.module): (row.seconds["h800"] * 1e6, row.calls, row.operator) for row in profile.rows}
    assert rows["attention", "matmul m16-n3072-k1024"] == (pytest.approx(60), 1, "matmul")
    assert rows["attention", "sgl_kernel::fwd"] == (pytest.approx(60), 1, None)
    assert rows["mlp", "silu_and_mul tokens16-hidden2048"] == (pytest.approx(30), 1, "silu_and_mul")
    assert rows["outside of every range", "graph_k1"] == (pytest.approx(50), 1, None)
    assert sum(seconds for seconds, _, _ in rows.values()) == pytest.approx(1100 / 4)
    capsys.readouterr()
    assert main(["profile", str(path)]) == 0
    assert "silu_and_mul tokens16-hidden2048" in capsys.readouterr().out


def test_the_csv_adds_up(ranks: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    assert main(["trace", *map(str, ranks), "--csv", str(path)]) == 0
    rows = list(csv.DictReader(path.read_text().splitlines()))
    whole = [row for row in rows if row["ranks"] == "all" and not row["kernel"]]
    assert sum(float(row["total_us"]) for row in whole) == pytest.approx(1100)
    assert sum(float(row["share"]) for row in whole) == pytest.approx(1, abs=1e-5)
    assert sum(float(row["total_us"]) for row in rows if row["kernel"]) == pytest.approx(1100)
    first = {row["operator"]: float(row["total_us"]) for row in rows if row["ranks"] == "rank 0" and row["kind"] == "mapped"}
    assert first == {"matmul": pytest.approx(80), "silu_and_mul": pytest.approx(60)}
    assert json.loads(whole[0]["dims"] or "{}") in ({"m": 16, "n": 3072, "k": 1024, "dtype": "bf16"}, {})


# -- what cannot be used ------------------------------------------------------------------------------------------------------


def refusal(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main(["trace", *map(str, arguments)]) == 2
    return capsys.readouterr().err


def test_without_shapes_kernels_are_still_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    events = [
        made.operation("aten::mm", 10, 50, 1, shapes=False),
        made.launch("cudaLaunchKernel", 20, 5, 1),
        made.kernel("gemm", 100, 4, 5, 1),
    ]
    assert main(["trace", str(made.write(tmp_path / "a.json", events))]) == 0
    out = capsys.readouterr().out
    assert "record with torch.profiler.profile(record_shapes=True)" in out
    assert "gemm" in out
    assert "recognised 100.00 %" in out


def test_two_files_of_one_rank(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, other = (made.write(tmp_path / f"{name}.json", made.step(3), 1) for name in "ab")
    assert "a.json and" in refusal(capsys, one, other)
    assert "both of rank 1 and both have step 3" in refusal(capsys, one, other)


def test_two_cycles_of_one_rank_are_other_steps(tmp_path: Path) -> None:
    one, other = (made.write(tmp_path / f"{number}.json", made.step(number), 1) for number in (3, 7))
    assert summarise([one, other], Mapping()).seconds == pytest.approx(2 * 255e-6)


def test_a_file_given_twice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = made.write(tmp_path / "a.json", made.step(3))
    (tmp_path / "b").mkdir()
    assert "is given twice" in refusal(capsys, path, tmp_path / "b" / ".." / "a.json")


def test_a_cpu_beside_a_gpu(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gpu = made.write(tmp_path / "a.json", made.step(3))
    cpu = made.write(tmp_path / "b.json", [event for event in made.step(3) if event["pid"] == 1])
    assert "traces of a CPU and of a GPU cannot be added up" in refusal(capsys, gpu, cpu)


@pytest.mark.parametrize(
    ("steps", "sentence"),
    [("8-9", "has no such step; known: 3"), ("5-3", "names no steps"), ("x", "names no steps"), ("", "names no steps")],
)
def test_unknown_steps(steps: str, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sentence in refusal(capsys, made.write(tmp_path / "a.json", made.step(3)), "--steps", steps)


def test_steps_of_a_trace_without(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    events = [made.operation("aten::mm", 10, 50, 1, made.tensor(8, 64), made.tensor(64, 32))]
    assert "known: none" in refusal(capsys, made.write(tmp_path / "a.json", events), "--steps", "3")


@pytest.mark.parametrize("wrong", [{"dur": -5}, {"dur": None}, {"ts": "soon"}, {"ts": float("nan")}, {"dur": float("inf")}])
def test_impossible_times_are_left_out_and_named(wrong: made.Event, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = {**made.kernel("backwards", 30_100, 4, 5), **wrong}
    path = made.write(tmp_path / "a.json", [*made.step(3), bad])
    assert summarise([path], Mapping()).seconds == pytest.approx(255e-6)
    assert main(["trace", str(path)]) == 0
    assert "1 event without a possible time is left out: the first, 'backwards'" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--profile", "--csv"])
def test_files_are_not_written_over(option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = made.write(tmp_path / "a.json", made.step(3))
    there = tmp_path / "there.toml"
    there.write_text("mine")
    assert "is there already" in refusal(capsys, path, option, there)
    assert there.read_text() == "mine"
