"""dsbench import table: published tables as runs, T_SOL worked out by hand."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from foreign import Desk, desk

from pytest_dsbench.measurement import VERSION

__all__ = ["desk"]

GEMM = ("--operator", "block_scaled_mm", "--hw", "h20", "--provider", "deep_gemm", "--set", "out_dtype=bf16")
MATMUL = ("--operator", "matmul", "--hw", "h20", "--provider", "cublas")
MLA = ("--operator", "mla_decode_attention", "--hw", "h800", "--provider", "flashmla", "--set", "heads=16")
LENGTHS = ("--map", "kv_lens==[kv_len] * batch_size")
ROW = "m,n,k,latency_us\n4096,4096,7168,2000\n"


def test_a_gemm_table_of_an_h20(desk: Desk) -> None:
    done = desk.table("# made up\nm,k,n,latency_us,tflops\n4096,7168,4096,902.5,266\n\n64,7168,4096,18.2,206\n", *GEMM)
    assert done.code == 0 and not done.err
    big, small = desk.records()
    # 2 m n k over 296 TFLOP/s of fp8: both are bound by compute on this GPU.
    for record, m, seconds in ((big, 4096, 902.5e-6), (small, 64, 18.2e-6)):
        assert record.bound is not None and record.time is not None and record.work is not None
        assert record.bound.seconds == pytest.approx(2 * m * 4096 * 7168 / 296e12)
        assert (record.bound.by, record.status, record.mode, record.cold) == ("compute", "passed", "imported", None)
        assert record.time.median == record.time.low == record.time.high == pytest.approx(seconds)
        assert (record.time.n, record.time.stopped_by) == (1, "imported")
        assert record.efficiency == pytest.approx(2 * m * 4096 * 7168 / 296e12 / seconds)
        assert record.notes == ("imported: not checked against a reference here",)
        assert (record.case.category, record.case.provider, record.correctness) == ("gemm", "deep_gemm", None)
    # a, b and their scales, and out in bf16
    assert small.work is not None
    assert small.work.bytes == 64 * 7168 + 4096 * 7168 + 4 * 64 * 56 + 4 * 32 * 56 + 2 * 64 * 4096
    assert [record.case.where for record in (big, small)] == ["table.csv:3", "table.csv:5"]
    assert big.case.dims["out_dtype"] == "bf16" and big.case.dims["fp8"] == "fp8_e4m3"
    assert "columns that are not used: tflops" in done.out


def test_an_mla_decode_table_of_an_h800(desk: Desk) -> None:
    desk.table("batch_size,kv_len,latency_us\n32,4096,60.5\n1,128,4\n", *MLA, *LENGTHS)
    first, second = desk.records()
    keys = 32 * 4096
    moved = 2 * (32 * 16 * 576 + keys * 576 + 32 * 16 * 512) + 4 * 32
    assert first.case.dims["kv_lens"] == [4096] * 32 and second.case.dims["kv_lens"] == [128]
    assert first.work is not None and first.work.bytes == moved
    assert first.bound is not None and first.bound.by == "memory"
    assert first.bound.seconds == pytest.approx(moved / 3.35e12)
    assert first.efficiency == pytest.approx(moved / 3.35e12 / 60.5e-6)


def test_the_header_says_where_it_is_from(desk: Desk) -> None:
    desk.table(ROW, *MATMUL, "--date", "2025-06-01")
    (run,) = desk.runs()
    assert run.header is not None and run.header.imported is not None
    digest = hashlib.sha256(ROW.encode()).hexdigest()[:12]
    assert run.header.imported == f"imported from the table table.csv (sha256 {digest})"
    assert (run.header.v, run.header.hardware.name, run.header.started) == (VERSION, "h20", "2025-06-01T00:00:00")
    assert (run.header.environment.device, run.header.environment.gpu) == ("cuda", "NVIDIA H20")
    assert run.header.environment.torch is None and run.header.environment.driver is None
    assert run.header.arguments[:3] == ("import", "table", "table.csv")
    assert run.measurements[0].environment == run.header.environment.key()
    assert Path(run.path).name == "20250601T000000Z-h20.jsonl"


def test_without_a_date_it_says_so(desk: Desk) -> None:
    done = desk.table(ROW, *MATMUL)
    assert "note: when it was measured is not known: the run bears the time of its import" in done.out


@pytest.mark.parametrize(
    ("column", "cell", "seconds"),
    [
        ("latency_us", "2000", 2e-3),
        ("Latency (ms)", "2.0", 2e-3),
        ("time [s]", "2e-3", 2e-3),
        ("Median time (ns)", "2000000", 2e-3),
        ("avg_latency_us", " 2000 ", 2e-3),
        ("Duration µs", "2000", 2e-3),
    ],
)
def test_columns_of_times(desk: Desk, column: str, cell: str, seconds: float) -> None:
    desk.table(f"m,n,k,{column}\n4096,4096,7168,{cell}\n", *MATMUL)
    (record,) = desk.records()
    assert record.time is not None and record.time.median == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text",
    [
        b"\xef\xbb\xbfm,n,k,latency_us\r\n4096,4096,7168,2000\r\n",
        b"m\tn\tk\tlatency_us\n4096\t4096\t7168\t2000",
        b'M;N;K;"latency_us"\n"4096";"4096";7168;2000\n',
        b"# a\n\nm, n, k, latency_us\n# b\n4096, 4096, 7168, 2000\n\n",
        b"k|n|m|latency_us\r7168|4096|4096|2000\r",
    ],
)
def test_ways_to_write_a_table(desk: Desk, text: bytes) -> None:
    desk.table(text, *MATMUL)
    (record,) = desk.records()
    assert record.case.dims == {"m": 4096, "n": 4096, "k": 7168, "dtype": "bf16"}
    assert record.time is not None and record.time.median == pytest.approx(2e-3)


def test_rows_of_several_gpus_are_runs_of_their_own(desk: Desk) -> None:
    rows = "4096,4096,7168,NVIDIA H20,2000\n4096,4096,7168,h800,400\n4096,4096,7168,NVIDIA_H800,401\n4096,4096,7168,B300,9\n"
    done = desk.table(f"m,n,k,GPU,latency_us\n{rows}", *MATMUL[:2], *MATMUL[4:])
    assert done.out[0] == "rows of 2 GPUs: a run file for each"
    h20, h800 = desk.runs()
    assert h20.header is not None and h800.header is not None
    assert (h20.header.hardware.name, h800.header.hardware.name) == ("h20", "h800")
    assert (h20.header.environment.gpu, h800.header.environment.gpu) == ("NVIDIA H20", "NVIDIA H800 SXM 80 GB")
    flop = 2 * 4096 * 4096 * 7168
    assert h20.measurements[0].efficiency == pytest.approx(flop / 148e12 / 2e-3)
    assert h800.measurements[0].efficiency == pytest.approx(flop / 989.5e12 / 400e-6)
    assert any("1 record of a case that another record measured, too" in line for line in done.out)
    assert "  table.csv:5: no data sheet is known for 'B300'; --hw NAME or `gpus` of an import file names one" in "\n".join(
        done.out
    )


def test_a_gpu_that_contradicts_the_option_is_refused(desk: Desk) -> None:
    (line,) = desk.unusable("m,n,k,gpu,latency_us\n4096,4096,7168,H200,2000\n", *MATMUL)
    assert line == "table.csv:2: measured on H200, which is h200; --hw says h20"
    assert desk.runs() == []


def test_an_unknown_gpu_is_taken_on_trust_and_it_is_said(desk: Desk) -> None:
    desk.table("m,n,k,gpu,latency_us\n4096,4096,7168,H20-141G,2000\n", *MATMUL)
    assert "the file names the GPU 'H20-141G'; the sheet was named on import" in desk.records()[0].notes


def test_faster_than_light_is_invalid_not_hidden(desk: Desk) -> None:
    flop = 2 * 4096 * 4096 * 7168 / 148e12
    just, over = flop * 0.98e6, flop * 0.96e6
    done = desk.table(f"m,n,k,latency_us\n4096,4096,7168,{just}\n4096,4096,7168,{over}\n", *MATMUL)
    good, bad = desk.records()
    assert (good.status, bad.status) == ("passed", "invalid")
    assert bad.reason is not None and bad.reason.startswith("faster than light") and "GPU" in bad.reason
    assert bad.efficiency == pytest.approx(1 / 0.96)
    assert done.code == 0 and "invalid: 1 record" in done.out


def test_roles_and_scatter(desk: Desk) -> None:
    head = "m,n,k,library,version,samples,latency_us,min_us,p99_us,stddev_us,status,notes\n"
    good = "4096,4096,7168,cublas,12.8,100,2000,1990,2100,5,ok,graph replay\n"
    bad = "4096,4096,7168,mine,,,,,,,illegal memory access,\n"
    desk.table(head + good + bad, *MATMUL[:4])
    first, second = desk.records()
    assert first.time is not None and first.time.low == first.time.high == first.time.median and first.time.n == 1
    assert "100 samples, whose scatter the file does not give" in first.notes
    assert "in the file: min_us 1990, p99_us 2100, stddev_us 5" in first.notes and "graph replay" in first.notes
    assert (first.case.provider, first.packages) == ("cublas", {"cublas": "12.8"})
    assert (second.status, second.time, second.reason) == ("failed", None, "the file says: illegal memory access")


def test_an_interval_needs_to_be_one(desk: Desk) -> None:
    head, row = "m,n,k,latency_us,ci_low_us,ci_high_us,samples\n", "4096,4096,7168,2000,1990,2020,50\n"
    desk.table(head + row + "4096,4096,7168,2000,2010,2020,50\n" + "4096,4096,7168,2000,1990,2020,\n", *MATMUL)
    first, second = desk.records()
    assert first.time is not None and (first.time.low, first.time.high) == pytest.approx((1990e-6, 2020e-6))
    assert first.time.n == 50
    assert second.time is not None and second.time.n == 1 and second.time.low == second.time.median
    assert any("comes without a number of samples" in note for note in second.notes)


def test_a_time_outside_of_its_interval(desk: Desk) -> None:
    (line,) = desk.unusable("m,n,k,latency_us,ci_low_us,ci_high_us,samples\n64,64,64,9,10,20,5\n", *MATMUL)
    assert line == "table.csv:2: the time is outside of its interval, ci_low_us to ci_high_us"


def test_mapped_columns_formulas_and_dtypes(desk: Desk) -> None:
    text = "rows,N per rank,K,precision,t1,t2\n4096,512,7168,torch.float16,2000,1\n"
    words = ("--map", "m=rows,n==N_per_rank * 8", "--map", "dtype=precision,time_us=t1", "--ignore", "t2")
    desk.table(text, *MATMUL, *words)
    (record,) = desk.records()
    assert record.case.dims == {"m": 4096, "n": 4096, "k": 7168, "dtype": "fp16"}
    assert record.time is not None and record.time.median == pytest.approx(2e-3)


def test_lengths_in_a_cell(desk: Desk) -> None:
    desk.table('kv_lens;latency_us\n"[4096, 17]";60\n4096x3+17;60\n4096 17;60\n7;60\n', *MLA)
    expected = [[4096, 17], [4096, 4096, 4096, 17], [4096, 17], [7]]
    assert [one.case.dims["kv_lens"] for one in desk.records()] == expected


def test_a_case_of_the_package_bears_its_label_and_importance(desk: Desk) -> None:
    desk.table("tokens,hidden,latency_us\n2500,1024,9\n2501,1024,9\n", "--operator", "rms_norm", "--hw", "h20", "--provider", "x")
    known, other = desk.records()
    assert known.case.provenance.id is not None and known.case.importance is not None
    assert (other.case.provenance.id, other.case.importance, other.case.label) == (None, None, "tokens2501-hidden1024")
    done = desk.run("score", str(next((desk.path / "runs").glob("*.jsonl"))))
    assert done.code == 0 and any(line.startswith("rms_norm") and "  1  " in line for line in done.out)


def test_an_import_file_says_it_all(desk: Desk) -> None:
    text = """
        operator = "matmul"
        hw = "h20"
        provider = "cublas"
        unit = "us"
        title = "Table 3"
        source = "a paper"
        date = "2025-02-01"
        ignore = ["row"]
        map = { m = "M0", gpu = "where" }
        set = { dtype = "fp16" }
        gpus = { "H-20 (96G)" = "h20" }
    """
    desk.write("import.toml", text)
    done = desk.table("row,M0,n,k,latency,where\n1,4096,4096,7168,2000,H-20 (96G)\n", "--config", "import.toml")
    assert done.code == 0, done.err
    (run,) = desk.runs()
    assert run.header is not None and run.header.imported is not None
    assert run.header.imported.endswith("): Table 3, a paper") and run.header.started == "2025-02-01T00:00:00"
    assert run.measurements[0].case.dims == {"m": 4096, "n": 4096, "k": 7168, "dtype": "fp16"}
    assert run.measurements[0].notes == ("imported: not checked against a reference here",)


def test_the_command_line_goes_before_the_import_file(desk: Desk) -> None:
    desk.write("import.toml", 'operator = "matmul"\nhw = "h800"\nprovider = "a"\nset = { dtype = "fp16" }\n')
    desk.table(ROW, "--config", "import.toml", "--provider", "b", "--set", "dtype=bf16")
    (record,) = desk.records()
    assert (record.case.provider, record.case.dims["dtype"], record.hardware) == ("b", "bf16", "h800")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('opperator = "matmul"', "import.toml:1: unknown key of an import file 'opperator'; did you mean 'operator'?"),
        ('\nunit = "minutes"', "import.toml:2: key 'unit'"),
        ("a = [", "import.toml:1: not TOML"),
        ('[definitions."x"]\nmap = {}\n', "import.toml:1: key 'definitions'"),
        (
            'operator = "matmul"\nset = { dtyp = "fp16" }',
            "table.csv:1: unknown dimension of matmul 'dtyp'; did you mean 'dtype'?",
        ),
    ],
)
def test_mistakes_in_an_import_file(desk: Desk, text: str, sentence: str) -> None:
    desk.write("import.toml", text)
    assert sentence in desk.refused(ROW, "--config", "import.toml", "--provider", "x", "--hw", "h20")


@pytest.mark.parametrize(
    ("text", "words", "sentence"),
    [
        ("", MATMUL, "table.csv: empty; expected a header"),
        ("\n# nothing\n", MATMUL, "table.csv: empty; expected a header"),
        ("m,n,k,latency_us\n", MATMUL, "table.csv: only a header"),
        (b"m,n,k,latency_us\n1,1,1,\xff\n", MATMUL, "table.csv:2: not UTF-8"),
        ('m,n,k,latency_us\n1,1,1,"2\n', MATMUL, "table.csv:2: no table"),
        ("m,n,,latency_us\n1,1,1,2\n", MATMUL, "table.csv:1: column 3 has no name"),
        ("m,n,n,latency_us\n1,1,1,2\n", MATMUL, "two columns are named 'n'"),
        ("m,n,k\n1,1,1\n", MATMUL, "table.csv:1: no column of times among m, n, k; expected one such as latency_us"),
        ("m,n,k,mean_us,median_us\n1,1,1,2,2\n", MATMUL, "2 columns of times: mean_us, median_us; choose one"),
        ("m,n,k,latency\n1,1,1,2\n", MATMUL, "column 'latency' does not say its unit; --unit us does"),
        ("m,n,k,time_ms\n1,1,1,2\n", (*MATMUL, "--map", "time_us=time_ms"), "is mapped as us, but its name says ms"),
        ("m,n,k,a,b\n1,1,1,2,2\n", (*MATMUL, "--map", "time_us=a,time_ms=b"), "'time_us' and 'time_ms' are the same"),
        ("m,n,hiden,latency_us\n1,1,1,2\n", ("--operator", "rms_norm", *MATMUL[2:]), "unknown column 'm'"),
        ("tokens,hiden,latency_us\n1,1,2\n", ("--operator", "rms_norm", *MATMUL[2:]), "did you mean 'hidden'?"),
        ("batch_size,kv_len,latency_us\n1,1,2\n", MLA, "unknown column 'batch_size'; known: dtype, heads, kv_lens"),
        (ROW, ("--operator", "matmull", *MATMUL[2:]), "unknown operator 'matmull'; did you mean 'matmul'?"),
        (ROW, ("--hw", "h20", "--provider", "x"), "which operator do its rows measure? --operator NAME says so"),
        (ROW, ("--operator", "matmul", "--hw", "h21", "--provider", "x"), "unknown GPU 'h21'; did you mean 'h20'?"),
        (ROW, ("--operator", "matmul", "--provider", "x"), "on which GPU was this measured? --hw NAME says so"),
        (ROW, ("--operator", "matmul", "--hw", "h20"), "who ran this? --provider NAME says so"),
        (ROW, (*MATMUL, "--set", "m=7"), "dimension 'm' is set to 7 and also read from 'm'"),
        (ROW, (*MATMUL, "--set", "dtype"), "'dtype' is not a dimension; expected dim=value"),
        (ROW, (*MATMUL, "--set", "mm=7"), "unknown dimension of matmul 'mm'"),
        (ROW, (*MATMUL, "--map", "m"), "--map 'm': expected target=column"),
        (ROW, (*MATMUL, "--map", "m=M0"), "--map m=M0: unknown name 'M0'"),
        (ROW, (*MATMUL, "--map", "x=m"), "--map: unknown target 'x'"),
        (ROW, (*MATMUL, "--map", "m=m,m=n"), "--map: 'm' is mapped twice"),
        (ROW, (*MATMUL, "--map", "m==mm * 2"), "unknown name 'mm'"),
        (ROW, (*MATMUL, "--ignore", "x"), "--ignore x: unknown name 'x'"),
        (ROW, (*MATMUL, "--date", "June"), "'June' is no date"),
        (ROW, (*MATMUL, "--config", "no.toml"), "no.toml: cannot be read"),
        ("m,n,k,latency_us,ci_low_us\n1,1,1,2,1\n", MATMUL, "low is one end of an interval; the other end is missing"),
    ],
)
def test_a_table_that_is_refused(desk: Desk, text: str | bytes, words: tuple[str, ...], sentence: str) -> None:
    assert sentence in desk.refused(text, *words)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("4096.5,4096,7168,2000", "matmul: dimension 'm' is 4096.5; expected int"),
        ("many,4096,7168,2000", "matmul: dimension 'm' is 'many'; expected int"),
        ("0,4096,7168,2000", "matmul: dimension 'm' is 0; expected int >= 1"),
        (",4096,7168,2000", "matmul: dimension 'm' is missing"),
        ('"4,096",4096,7168,2000', "m: '4,096' has a separator in it"),
        ("4096,4096,7168,0", "latency_us: 0 is no time that a kernel can take"),
        ("4096,4096,7168,-3.5", "latency_us: -3.5 is no time"),
        ("4096,4096,7168,nan", "latency_us: 'nan' is no time"),
        ("4096,4096,7168,inf", "latency_us: 'inf' is no time"),
        ("4096,4096,7168,1e999", "is no time that a kernel can take"),
        ("4096,4096,7168,OOM", "latency_us: 'OOM' is no time; expected a number"),
        ("4096,4096,7168,", "latency_us: there is no time in this row"),
        ('4096,4096,7168,"2.000,5"', "latency_us: '2.000,5'"),
        ("4096,4096,7168", "3 cells; the header has 4 columns"),
        ("4096,4096,7168,2,3", "5 cells; the header has 4 columns"),
        ("=A1*2,4096,7168,2000", "m: '=A1*2' is a formula of a spreadsheet"),
    ],
)
def test_a_row_that_is_refused_costs_only_itself(desk: Desk, row: str, reason: str) -> None:
    (line,) = desk.unusable(f"m,n,k,latency_us\n{row}\n4096,4096,7168,2000\n", *MATMUL)
    assert line.startswith("table.csv:2: ") and reason in line
    assert [one.case.where for one in desk.records()] == ["table.csv:3"]


def test_no_row_of_use_is_exit_code_1_and_no_file(desk: Desk) -> None:
    done = desk.table("m,n,k,latency_us\n" + "1,1,1,0\n" * 3 + "x,1,1,5\n", *MATMUL)
    assert done.code == 1 and not (desk.path / "runs").exists()
    assert "unusable: 4 rows" in done.out and done.out[-1] == "no row could be used; nothing was written"
    assert any(line.startswith("  table.csv:2 and 2 more: latency_us: 0 is no time") for line in done.out)


def test_many_reasons_are_counted(desk: Desk) -> None:
    lines = desk.unusable("m,n,k,latency_us\n" + "".join(f"x{number},1,1,5\n" for number in range(25)), *MATMUL)
    assert len(lines) == 11 and lines[-1] == "and 15 rows for other reasons"


def test_a_dimension_that_the_sheet_has_no_peak_for(desk: Desk) -> None:
    words = ("--operator", "block_scaled_mm", "--hw", "a100", "--provider", "x")
    (line,) = desk.unusable("m,n,k,latency_us\n4096,4096,7168,2000\n", *words)
    assert "a100" in line and "has no fp8 peak" in line


def test_lines_are_those_of_the_file(desk: Desk) -> None:
    text = '# a\nm,n,k,notes,latency_us\n\n4096,4096,7168,"two\nlines",2000\n# b\n4096,4096,7168,one,0\n'
    (line,) = desk.unusable(text, *MATMUL)
    assert line.startswith("table.csv:7: ")
    assert desk.records()[0].case.where == "table.csv:4"


def test_compare_and_accept_refuse_it_in_one_sentence(desk: Desk) -> None:
    desk.table(ROW, *MATMUL)
    (run,) = desk.runs()
    for words in (("compare", run.path, run.path), ("baseline", "accept", run.path)):
        done = desk.run(*words)
        assert (done.code, done.out, done.err.count("\n")) == (2, [], 1)
        assert "imported from the table table.csv" in done.err and "regress" not in done.err


def test_history_shows_it_without_an_interval(desk: Desk) -> None:
    desk.table(ROW, *MATMUL)
    done = desk.run("history", "matmul[m4096]")
    assert any("2.00 ms" in line and "+-" not in line for line in done.out)


def test_a_folder_that_cannot_be_written_to(desk: Desk) -> None:
    desk.write("taken", "")
    done = desk.table(ROW, *MATMUL, "--out", "taken")
    assert done.code == 2 and done.err.startswith("dsbench: --out taken: cannot be written")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("import",), "import: expected a format: table, pytest-benchmark, flashinfer-bench, published"),
        (("import", "tabel"), "unknown format 'tabel'; did you mean 'table'?"),
        (("import", "table", "no.csv", "--operator", "matmul"), "no.csv: cannot be read"),
        (("import", "table", ".", "--operator", "matmul"), ".: cannot be read"),
        (("import", "table", "x", "--hww", "h20"), "unknown argument of import '--hww'; did you mean '--hw'?"),
        (("import", "published", "--hw", "h20"), "--hw h20: no published times come with the shapes, only those of xpu_a"),
    ],
)
def test_mistakes_on_the_command_line(desk: Desk, words: tuple[str, ...], sentence: str) -> None:
    done = desk.run(*words)
    assert done.code == 2 and sentence in done.err


def test_the_published_times(desk: Desk) -> None:
    done = desk.run("import", "published")
    assert done.code == 0
    (run,) = desk.runs()
    assert run.header is not None and run.header.hardware.name == "xpu_a" and len(run.measurements) == 440
    assert len({one.case.operator for one in run.measurements}) == 30
    assert all(one.case.provenance.id is not None and one.case.importance is not None for one in run.measurements)
    (one,) = [one for one in run.measurements if (one.case.operator, one.case.provenance.id) == ("rms_norm", 0)]
    row = one.case.dims["tokens"] * one.case.dims["hidden"] * 2
    assert one.bound is not None and one.time is not None and one.bound.by == "memory"
    assert one.bound.seconds == pytest.approx((2 * row + 2 * one.case.dims["hidden"]) / 5.3e12)
    assert one.time.median == pytest.approx((one.case.provenance.production_us or 0) * 1e-6)
    for record in run.measurements:
        assert record.efficiency is not None and (record.status == "invalid") == (record.efficiency > 1 / 0.97)
    # the launch floor of this device is 7.44 us
    assert all(record.floor_bound == (record.time.median < 3 * 7.44e-6) for record in run.measurements if record.time)
    assert any("own formulas of work" in note for note in run.header.notes)
    score = desk.run("score", run.path)
    assert any("30 of 30 operators" in line for line in score.out)


def test_every_line_of_a_run_is_json(desk: Desk) -> None:
    desk.table(ROW, *MATMUL)
    lines = [json.loads(line) for line in Path(desk.runs()[0].path).read_text().splitlines()]
    assert [line["kind"] for line in lines] == ["run", "case", "end"]


def test_importing_needs_no_torch() -> None:
    script = (
        "import sys; from pytest_dsbench.__main__ import main; main(['import', 'published', '--out', sys.argv[1]]);"
        "print(sorted({'torch', 'numpy', 'pytest', 'matplotlib'} & set(sys.modules)))"
    )
    with TemporaryDirectory() as folder:
        done = subprocess.run([sys.executable, "-c", script, folder], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
