"""dsbench import flashinfer-bench: traces in the form of the published schema, made up here, T_SOL worked out by hand."""

import json
from pathlib import Path
from typing import Any

import pytest
from foreign import Desk, desk

from pytest_dsbench.environment import Environment

__all__ = ["desk"]

LIBS = {"torch": "2.9.1", "triton": "3.5.1", "cuda": "13.0"}


def trace(definition: str, axes: dict[str, int], latency_ms: object = 0.02, **changes: Any) -> dict[str, Any]:
    """One trace that passed; `changes` of its evaluation."""
    evaluation = {
        "status": "PASSED",
        "environment": {"hardware": "NVIDIA H200", "libs": LIBS},
        "timestamp": "2026-03-17T14:19:52.543776",
        "log": "/home/somebody/.cache",
        "correctness": {"max_relative_error": 0.001, "max_absolute_error": 0.01, "extra": None},
        "performance": {"latency_ms": latency_ms, "reference_latency_ms": 1.0, "speedup_factor": 50.0},
    }
    workload = {"axes": axes, "inputs": {"A": {"type": "random"}}, "uuid": "1-2-3"}
    return {"definition": definition, "workload": workload, "solution": "a_solution", "evaluation": {**evaluation, **changes}}


def write(desk: Desk, *traces: object, name: str = "traces.jsonl") -> str:
    return desk.write(name, "".join(f"{one if isinstance(one, str) else json.dumps(one)}\n" for one in traces))


@pytest.mark.parametrize(
    ("definition", "axes", "operator", "dims", "moved"),
    [
        (
            "gemm_n4096_k7168",
            {"M": 16},
            "matmul",
            {"m": 16, "n": 4096, "k": 7168, "dtype": "fp16"},
            2 * (16 * 7168 + 4096 * 7168 + 16 * 4096),
        ),
        (
            "rmsnorm_h7168",
            {"batch_size": 14418},
            "rms_norm",
            {"tokens": 14418, "hidden": 7168, "dtype": "bf16", "eps": 1e-6},
            2 * (2 * 14418 * 7168 + 7168),
        ),
        (
            "fused_add_rmsnorm_h2048",
            {"batch_size": 5000},
            "fused_add_rms_norm",
            {"tokens": 5000, "hidden": 2048, "dtype": "bf16", "eps": 1e-6},
            2 * (4 * 5000 * 2048 + 2048),
        ),
        (
            "gqa_paged_decode_h32_kv8_d128_ps1",
            {"batch_size": 1, "num_pages": 9000, "len_indptr": 2, "num_kv_indices": 8000},
            "paged_attention_decode",
            {"q_heads": 32, "kv_heads": 8, "head_dim": 128, "kv_lens": [8000], "page_size": 1, "layout": "nhd", "dtype": "bf16"},
            2 * (2 * 32 * 128 + 2 * 8000 * 8 * 128) + 4 * (8000 + 1),
        ),
        (
            "mla_paged_decode_h16_ckv512_kpe64_ps1",
            {"batch_size": 1, "num_pages": 9000, "len_indptr": 2, "num_kv_indices": 8000},
            "paged_mla_decode",
            {
                "heads": 16,
                "kv_lens": [8000],
                "q_len": 1,
                "page_size": 1,
                "kv_lora_rank": 512,
                "rope_dim": 64,
                "nope_dim": 128,
                "dtype": "bf16",
            },
            2 * (16 * 576 + 8000 * 576 + 16 * 512) + 4 * (1 + 8000),
        ),
    ],
)
def test_definitions_whose_axes_say_it_all(
    desk: Desk, definition: str, axes: dict[str, int], operator: str, dims: dict[str, Any], moved: int
) -> None:
    done = desk.run("import", "flashinfer-bench", write(desk, trace(definition, axes, 0.5)))
    assert done.code == 0, done.out
    (record,) = desk.records()
    assert (record.case.operator, record.case.dims, record.case.provider) == (operator, dims, "a_solution")
    assert record.work is not None and record.bound is not None and record.time is not None
    assert record.work.bytes == moved
    # All of them are bound by the 4.8 TB/s of the H200.
    assert record.bound.seconds == pytest.approx(moved / 4.8e12)
    assert (record.time.median, record.time.n) == (pytest.approx(0.5e-3), 1)
    assert record.efficiency == pytest.approx(moved / 4.8e12 / 0.5e-3)
    assert f"definition {definition}, workload 1-2-3" in record.notes


def test_a_prefill_of_one_sequence(desk: Desk) -> None:
    name = "gqa_paged_prefill_causal_h32_kv8_d128_ps1"
    one = {"total_q": 100, "num_pages": 9000, "len_indptr": 2, "num_kv_indices": 300}
    desk.run("import", "flashinfer-bench", write(desk, trace(name, one), trace(name, {**one, "len_indptr": 3})))
    (record,) = desk.records()
    assert record.case.operator == "unified_attention" and record.case.dims["causal"] is True
    assert (record.case.dims["q_lens"], record.case.dims["kv_lens"]) == ([100], [300])


def test_the_environment_of_the_traces(desk: Desk) -> None:
    desk.run("import", "flashinfer-bench", write(desk, trace("rmsnorm_h7168", {"batch_size": 7})))
    (run,) = desk.runs()
    assert run.header is not None and run.header.imported is not None
    environment: Environment = run.header.environment
    assert (environment.gpu, environment.torch, environment.cuda) == ("NVIDIA H200", "2.9.1", "13.0")
    assert run.measurements[0].packages == {"triton": "3.5.1"}
    assert run.header.started == "2026-03-17T14:19:52" and run.measurements[0].at == pytest.approx(1773757192.543776)
    assert run.header.imported.startswith("imported from traces of flashinfer-bench: traces.jsonl (sha256 ")
    # The log of a trace has paths of somebody's machine.
    assert "somebody" not in Path(run.path).read_text()


def test_what_differs_between_traces_is_not_said_of_all(desk: Desk) -> None:
    other = {"hardware": "NVIDIA H200", "libs": {"torch": "2.8"}}
    traces = trace("rmsnorm_h64", {"batch_size": 7}), trace("rmsnorm_h64", {"batch_size": 8}, environment=other)
    desk.run("import", "flashinfer-bench", write(desk, *traces))
    (run,) = desk.runs()
    assert run.header is not None and run.header.environment.torch is None and run.header.environment.cuda is None


def test_a_solution_that_failed_is_recorded_as_failed(desk: Desk) -> None:
    wrong = {"status": "INCORRECT_NUMERICAL", "performance": None, "correctness": {"max_relative_error": 12.5}}
    broken = {"status": "RUNTIME_ERROR", "performance": None, "correctness": None}
    traces = [trace("rmsnorm_h64", {"batch_size": size}, **one) for size, one in ((1, wrong), (2, broken))]
    done = desk.run("import", "flashinfer-bench", write(desk, *traces))
    first, second = desk.records()
    assert (first.status, first.time, first.efficiency) == ("failed", None, None)
    assert first.reason == "flashinfer-bench says INCORRECT_NUMERICAL, largest relative error 12.5"
    assert second.reason == "flashinfer-bench says RUNTIME_ERROR"
    assert done.code == 0 and "failed: 2 records" in done.out


PAGED = {"batch_size": 3, "num_pages": 100, "len_indptr": 4, "num_kv_indices": 90}


@pytest.mark.parametrize(
    ("one", "reason"),
    [
        (trace("mla_paged_decode_h16_ckv512_kpe64_ps1", PAGED), "the length of each sequence is in a tensor beside the trace"),
        (trace("gqa_paged_decode_h32_kv8_d128_ps64", PAGED), "how full the last page of each sequence is"),
        (trace("gqa_ragged_prefill_causal_h32_kv4_d128", {"total_q": 3}), "no operator here is this attention over ragged keys"),
        (trace("moe_fp8_block_scale_ds_routing_topk8_ng8_kg4_e32_h7168_i2048", {"seq_len": 3}), "decided by the routing logits"),
        (trace("rmsnorm_h4096_fp8e4m3", {"batch_size": 3}), "not known here; `definitions` of an import file says which"),
        (trace("rmsnorm_h64", {}), "unknown name 'batch_size'"),
        (trace("rmsnorm_h64", {"batch_size": 0}), "rms_norm: dimension 'tokens' is 0"),
        (trace("rmsnorm_h64", {"batch_size": 7.5}), "the workload's axes are {'batch_size': 7.5}"),  # type: ignore[dict-item]
        (trace("rmsnorm_h64", {"batch_size": 7}, 0.0), "latency_ms 0.0 is no time that a kernel can take"),
        (trace("rmsnorm_h64", {"batch_size": 7}, "fast"), "is no time; expected a number"),
        (trace("rmsnorm_h64", {"batch_size": 7}, None), "PASSED, but without performance.latency_ms"),
        (trace("rmsnorm_h64", {"batch_size": 7}, status=3), "the status of the evaluation is 3"),
        (trace("rmsnorm_h64", {"batch_size": 7}, timestamp="noon"), "'noon' is no date"),
        (
            trace("rmsnorm_h64", {"batch_size": 7}, environment={"hardware": "NVIDIA_H100"}),
            "no data sheet is known for 'NVIDIA_H100'",
        ),
        (trace("rmsnorm_h64", {"batch_size": 7}, environment=None), "the file does not say on which GPU"),
        ({**trace("rmsnorm_h64", {"batch_size": 7}), "evaluation": None}, "a workload without an evaluation"),
        ({**trace("rmsnorm_h64", {"batch_size": 7}), "solution": None}, "the solution has no name"),
        ({"definition": "rmsnorm_h64"}, "no trace: expected the keys definition, workload, solution and evaluation"),
        ([], "no trace: expected a JSON object"),
        ("{half a li", "not JSON: "),
    ],
)
def test_what_cannot_be_mapped_costs_only_itself(desk: Desk, one: object, reason: str) -> None:
    done = desk.run("import", "flashinfer-bench", write(desk, one, trace("rmsnorm_h64", {"batch_size": 7})))
    (line,) = [line for line in done.out if line.startswith("  traces.jsonl:1: ")]
    assert reason in line and "unusable: 1 row" in done.out
    assert [record.case.where for record in desk.records()] == ["traces.jsonl:2"]


def test_workloads_that_cannot_be_mapped_are_counted(desk: Desk) -> None:
    ragged = [trace("mla_paged_decode_h16_ckv512_kpe64_ps1", {**PAGED, "batch_size": size}) for size in range(2, 42)]
    done = desk.run("import", "flashinfer-bench", write(desk, *ragged))
    assert done.code == 1 and "unusable: 40 rows" in done.out and desk.runs() == []
    assert any(line.startswith("  traces.jsonl:1 and 39 more: mla_paged_decode") for line in done.out)


def test_an_import_file_says_more_of_definitions_and_gpus(desk: Desk) -> None:
    text = """
        [gpus]
        NVIDIA_H100 = "h100_sxm"
        [definitions."gemm_n{N}_k{K}"]
        operator = "matmul"
        map = { m = "M", n = "N", k = "K" }
        set = { dtype = "bf16" }
        [definitions."ragged_{heads}"]
        operator = "attention_forward"
        map = { heads = "heads", seq_lens = "= [tokens // batch] * batch" }
        set = { head_dim = 64 }
        when = "tokens % batch == 0"
        otherwise = "it does not say how long each is"
    """
    desk.write("import.toml", text)
    traces = [
        trace("gemm_n128_k2048", {"M": 3}, environment={"hardware": "NVIDIA_H100"}),
        trace("ragged_16", {"tokens": 64, "batch": 4}),
        trace("ragged_16", {"tokens": 65, "batch": 4}),
    ]
    done = desk.run("import", "flashinfer-bench", write(desk, *traces), "--config", "import.toml")
    by_gpu = {run.header.hardware.name: run.measurements for run in desk.runs() if run.header}
    assert by_gpu["h100_sxm"][0].case.dims == {"m": 3, "n": 128, "k": 2048, "dtype": "bf16"}
    assert by_gpu["h200"][0].case.dims["seq_lens"] == [16] * 4
    assert any("ragged_16: it does not say how long each is; mapped only where tokens % batch == 0" in line for line in done.out)


def test_a_folder_of_traces_and_a_broken_file_in_it(desk: Desk) -> None:
    for name in ("a", "b", "c"):
        (desk.path / "set" / name).mkdir(parents=True)
    write(desk, trace("rmsnorm_h64", {"batch_size": 7}), name="set/a/one.jsonl")
    write(desk, trace("rmsnorm_h64", {"batch_size": 8}), name="set/b/two.jsonl")
    desk.write("set/c/empty.jsonl", "")
    done = desk.run("import", "flashinfer-bench", "set")
    assert len(desk.records()) == 2 and done.code == 0
    assert any("set/c/empty.jsonl:1: empty; expected a trace" in line for line in done.out)


def test_a_name_for_all_solutions_and_a_sheet_for_all_gpus(desk: Desk) -> None:
    one = trace("rmsnorm_h64", {"batch_size": 7}, environment={"hardware": "a lab's card"})
    desk.run("import", "flashinfer-bench", write(desk, one), "--provider", "agent", "--hw", "l40s")
    (record,) = desk.records()
    assert (record.case.provider, record.hardware) == ("agent", "l40s")
    assert 'the file names the GPU "a lab\'s card"; the sheet was named on import' in record.notes


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("no.jsonl",), "no.jsonl: no such file or folder"),
        (("nothing",), "nothing: no traces (*.jsonl) in this folder"),
        (("empty.jsonl",), "empty.jsonl: empty; expected a trace as a JSON object on each line"),
        ((), "import flashinfer-bench: the following arguments are required: TRACES"),
    ],
)
def test_files_that_are_none(desk: Desk, words: tuple[str, ...], sentence: str) -> None:
    (desk.path / "nothing").mkdir()
    desk.write("empty.jsonl", "\n")
    done = desk.run("import", "flashinfer-bench", *words)
    assert (done.code, done.err) == (2, f"dsbench: {sentence}\n")
