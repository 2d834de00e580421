"""Traces that torch.profiler makes here, of a small transformer on the CPU: dimensions, calls and times are known otherwise."""

import gzip
from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from pytest_dsbench.__main__ import main
from pytest_dsbench.operators import find
from pytest_dsbench.shapes import load
from pytest_dsbench.trace.mapping import Mapping
from pytest_dsbench.trace.summary import Summary, summarise

torch = pytest.importorskip("torch")

LAYERS, STEPS = 3, 4
BATCH, TOKENS, HEADS, HEAD_DIM, INNER = 2, 24, 4, 16, 160
HIDDEN = HEADS * HEAD_DIM


def layer_class(annotated: bool) -> Any:
    functional = torch.nn.functional

    class Attention(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.qkv = torch.nn.Linear(HIDDEN, 3 * HIDDEN, bias=False)
            self.out = torch.nn.Linear(HIDDEN, HIDDEN)

        def forward(self, x: Any) -> Any:
            q, k, v = self.qkv(x).view(BATCH, TOKENS, 3, HEADS, HEAD_DIM).permute(2, 0, 3, 1, 4)
            seen = functional.scaled_dot_product_attention(q, k, v)
            return self.out(seen.transpose(1, 2).reshape(BATCH, TOKENS, HIDDEN))

    class Layer(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = torch.nn.RMSNorm(HIDDEN, eps=1e-5), torch.nn.LayerNorm(HIDDEN)
            self.attention = Attention()
            self.up, self.down = torch.nn.Linear(HIDDEN, INNER), torch.nn.Linear(INNER, HIDDEN)

        def forward(self, x: Any) -> Any:
            with torch.profiler.record_function("mixing") if annotated else nullcontext():
                x = x + self.attention(self.first(x))
            return x + self.down(functional.silu(self.up(self.second(x))))

    return Layer


def record(path: Path, annotated: bool = True, **options: Any) -> Any:
    """Runs the transformer under the profiler: one step is waited for, one is warm-up, four count."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(*(layer_class(annotated)() for _ in range(LAYERS))).to(torch.bfloat16)
    x = torch.randn(BATCH, TOKENS, HIDDEN, dtype=torch.bfloat16)
    plan = torch.profiler.schedule(wait=1, warmup=1, active=STEPS, repeat=1)
    with torch.no_grad(), torch.profiler.profile(schedule=plan, **{"record_shapes": True, **options}) as profiler:
        for _ in range(2 + STEPS):
            model(x)
            profiler.step()
    profiler.export_chrome_trace(str(path))
    return profiler


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    path = tmp_path_factory.mktemp("traces") / "cpu.json"
    return path, record(path)


@pytest.fixture(scope="module")
def trace(recorded: tuple[Path, Any]) -> Path:
    return recorded[0]


@pytest.fixture(scope="module")
def summary(trace: Path) -> Summary:
    return summarise([trace], Mapping())


ROWS = BATCH * TOKENS
#: Every operator of a layer at its true dimensions.
TRUE: dict[str, list[dict[str, Any]]] = {
    "rms_norm": [{"tokens": ROWS, "hidden": HIDDEN, "eps": 1e-5}],
    "layer_norm": [{"tokens": ROWS, "hidden": HIDDEN}],
    "attention_forward": [{"heads": HEADS, "head_dim": HEAD_DIM, "seq_lens": [TOKENS] * BATCH}],
    "matmul": [
        {"m": ROWS, "n": 3 * HIDDEN, "k": HIDDEN},
        {"m": ROWS, "n": HIDDEN, "k": HIDDEN},
        {"m": ROWS, "n": INNER, "k": HIDDEN},
        {"m": ROWS, "n": HIDDEN, "k": INNER},
    ],
}
OPS = {find(name).build({**dims, "dtype": "bf16"}) for name, many in TRUE.items() for dims in many}


def test_dimensions_and_calls_are_the_models(summary: Summary) -> None:
    assert {line.key.op: line.calls for line in summary.of("mapped")} == dict.fromkeys(OPS, LAYERS * STEPS)


def test_shares_add_up_to_one(summary: Summary) -> None:
    assert sum(summary.share(line.seconds) for line in summary.lines) == pytest.approx(1)
    assert {line.key.kind for line in summary.lines} == {"mapped", "recognised", "unmapped"}
    (silu,) = summary.of("recognised")
    assert (silu.key.operator, silu.calls) == ("silu_and_mul", LAYERS * STEPS)


def test_own_times_are_those_that_torch_computes(recorded: tuple[Path, Any], summary: Summary) -> None:
    theirs: dict[str, float] = {}
    for event in recorded[1].key_averages():
        if event.key.startswith("aten::"):
            theirs[event.key] = event.self_cpu_time_total
    ours: Counter[str] = Counter()
    for line in summary.lines:
        for name, (_, seconds) in line.kernels.items():
            ours[name] += seconds * 1e6
    assert ours == {name: pytest.approx(us, rel=1e-3, abs=0.5) for name, us in theirs.items() if name in ours}
    assert sum(ours.values()) == pytest.approx(sum(theirs.values()), rel=1e-3)


def test_steps_are_those_of_the_schedule(summary: Summary) -> None:
    (part,) = summary.parts
    assert [step.number for step in part.steps] == [2, 3, 4, 5]
    for step in part.steps:
        # One thread: its operations do not overlap, and do not outlast the step.
        assert 0 < step.busy <= step.wall
        assert step.summed == pytest.approx(step.busy, rel=1e-4)


def test_fewer_steps_are_fewer_calls(trace: Path) -> None:
    found = summarise([trace], Mapping(), "3,5")
    assert {line.calls for line in found.of("mapped")} == {LAYERS * 2}
    assert [step.number for step in found.parts[0].steps] == [3, 5]


def test_gzip_is_the_same(trace: Path, summary: Summary, tmp_path: Path) -> None:
    path = tmp_path / "named_wrongly.json"
    path.write_bytes(gzip.compress(trace.read_bytes()))
    assert summarise([path], Mapping()).lines == summary.lines


def test_torchs_own_gzip(tmp_path: Path) -> None:
    record(tmp_path / "a.json.gz")
    found = summarise([tmp_path / "a.json.gz"], Mapping())
    assert {line.key.op for line in found.of("mapped")} == OPS


def test_the_text_says_that_it_is_a_cpu(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trace", str(trace)]) == 0
    out, err = capsys.readouterr()
    assert "1 file; no rank recorded; 4 steps; on the CPU" in out
    assert "This is a CPU trace" in out
    assert "T_SOL" not in out
    assert "= 100.00 % of CPU time" in out
    assert not err


def test_no_sheet_of_a_gpu_bounds_a_cpu(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trace", str(trace), "--hw", "h200"]) == 2
    assert "this is a CPU trace" in capsys.readouterr().err


def test_the_shapes_are_read_back(trace: Path, summary: Summary, tmp_path: Path) -> None:
    assert main(["trace", str(trace), "--shapes", str(tmp_path)]) == 0
    shapes = load([tmp_path])
    assert not shapes.broken
    assert {case.op for case in shapes.cases} == OPS
    assert {case.provenance.calls for case in shapes.cases} == {LAYERS * STEPS}
    importance = {case.op.name: case.importance for case in shapes.cases}
    mapped = sum(summary.share(line.seconds) for line in summary.of("mapped"))
    assert sum(value for value in importance.values() if value) == pytest.approx(mapped, rel=1e-4)


def groups(path: Path, out: Path) -> dict[str, set[str | None]]:
    from pytest_dsbench.profile.tomlfile import read

    assert main(["trace", str(path), "--profile", str(out), "--force"]) == 0
    found: dict[str, set[str | None]] = {}
    for row in read(out.read_text(), str(out)).rows:
        found.setdefault(row.group, set()).add(row.operator)
    return found


def test_groups_are_annotations(trace: Path, tmp_path: Path) -> None:
    found = groups(trace, tmp_path / "profile.toml")
    assert set(found) == {"mixing", "outside of every range"}
    assert {"attention_forward", "rms_norm", "matmul"} <= found["mixing"]
    assert "layer_norm" in found["outside of every range"]
    assert "attention_forward" not in found["outside of every range"]


def test_groups_are_modules_where_there_are_no_annotations(tmp_path: Path) -> None:
    record(tmp_path / "a.json", annotated=False, with_stack=True)
    found = groups(tmp_path / "a.json", tmp_path / "profile.toml")
    # Norms and projections are leaves: they count for the module that holds them.
    assert set(found) == {"Layer", "Attention"}
    assert {"attention_forward", "matmul"} <= found["Attention"]
    assert {"rms_norm", "layer_norm", "matmul"} <= found["Layer"]
    assert not {"rms_norm", "layer_norm"} & found["Attention"]


def test_annotations_go_before_modules(tmp_path: Path) -> None:
    record(tmp_path / "a.json", with_stack=True)
    assert set(groups(tmp_path / "a.json", tmp_path / "profile.toml")) == {"mixing", "Layer"}


def test_the_profile_adds_up_to_a_step(trace: Path, summary: Summary, tmp_path: Path) -> None:
    from pytest_dsbench.profile.tomlfile import read

    path = tmp_path / "profile.toml"
    assert main(["trace", str(trace), "--profile", str(path)]) == 0
    profile = read(path.read_text(), str(path))
    assert sum(row.seconds["cpu"] for row in profile.rows) == pytest.approx(summary.seconds / STEPS, rel=1e-4)
    product = find("matmul").build({"m": ROWS, "n": INNER, "k": HIDDEN})
    (row,) = [row for row in profile.rows if row.operator == "matmul" and find("matmul").build(row.dims) == product]
    assert row.calls == LAYERS


def test_without_shapes_it_says_how_to_record_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(tmp_path / "a.json", record_shapes=False)
    assert main(["trace", str(tmp_path / "a.json"), "--shapes", str(tmp_path / "shapes")]) == 0
    out = capsys.readouterr().out
    assert "a.json has no shapes" in out
    assert "record_shapes=True" in out
    assert "no operator of ours was found" in out
    assert "0 cases" in out


def test_causal_attention_is_recognised_and_a_user_may_map_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    q = torch.randn(2, 4, 8, 16, dtype=torch.bfloat16)
    with torch.profiler.profile(record_shapes=True) as profiler:
        torch.nn.functional.scaled_dot_product_attention(q, q, q, is_causal=True)
    path, table = tmp_path / "a.json", tmp_path / "own.toml"
    profiler.export_chrome_trace(str(path))
    (line,) = summarise([path], Mapping()).of("recognised")
    assert "causal" in line.key.reason
    guide = (Path(__file__).parent.parent / "docs" / "traces.md").read_text()
    table.write_text(guide.split("```toml\n")[1].split("```")[0])
    (mapped,) = summarise([path], Mapping([table])).of("mapped")
    dims = {"q_heads": 4, "kv_heads": 4, "head_dim": 16, "q_lens": [8, 8], "page_size": 16}
    assert mapped.key.op == find("unified_attention").build(dims)
