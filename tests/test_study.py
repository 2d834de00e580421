"""The published study of expert-parallel decode: its own table, its formulas computed again in plain Python, and the command."""

import argparse
import csv
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pytest_dsbench.__main__ import main
from pytest_dsbench.commands import serve
from pytest_dsbench.mistake import Mistake
from pytest_dsbench.serving import study
from pytest_dsbench.serving.study import Gpu, Grid, Row

Dsbench = Callable[..., tuple[int, list[str], list[str]]]
TABLE = Path(__file__).parent.parent.parent / "shared" / "facts" / "ep_decode_tps20.csv"
GRID = study.load().grid
GPUS = {gpu.name: gpu for gpu in GRID.gpus}
NICS = {nic.name: nic for nic in GRID.nics}
Gi, Ti = 1024**3, 1024**4
COLUMNS = (
    "gpu,nic,policy,ep,kvcache_elem_bytes,non_expert_elem_bytes,batch_per_gpu,moe_fp8_discounted,"
    "user_tps,tokens_per_s_per_gpu,mtp_len"
)


@pytest.fixture
def dsbench(capsys: pytest.CaptureFixture[str]) -> Dsbench:
    """Runs `dsbench serve`: exit code, lines of stdout, lines of stderr."""

    def running(*arguments: str) -> tuple[int, list[str], list[str]]:
        code = main(("serve", *arguments))
        out, err = capsys.readouterr()
        return code, out.splitlines(), err.splitlines()

    return running


# -- the formulas once more, with the numbers in them -------------------------------------------------------------------------


def by_hand(gpu: Gpu, network: float, policy: str, ep: int, e: int, bs: int, mtp: int, discount: bool) -> tuple[float, float]:
    """User tokens/s and tokens/s per GPU."""
    b, q = bs / (2 if policy == "dual" else 1), 1 + mtp
    peak, fp8 = (gpu.fp8 if e == 1 else gpu.bf16), gpu.fp8

    def mm(m: float, k: int, n: int, elem: int, acc: int, f: float, cnt: int = 1) -> float:
        return max(cnt * (m * k * elem + k * n * elem + m * n * acc) / gpu.memory, cnt * 2 * max(m, 128) * k * n / f)

    m = b * q
    att0 = mm(m, 1536, 128, e, 4, peak) + mm(m, 128, 24576, e, 2, peak)
    att0 += mm(m, 128, 512, e, 2, peak, 128) + mm(m, 7168, 576, e, 2, peak)
    pairs = 128 * q * 8192
    g0, g1 = 2 * pairs * 576 / peak, 2 * pairs * 512 / peak
    exp2 = gpu.sms * 16 * gpu.clock
    v = 3 * pairs / exp2 + 2 * 0.5e-6
    c = {"none": g0 + g1 + v, "two-stage": g0 + max(v, g1), "three-stage": max(v, g0 + g1)}[gpu.pipeline]
    att1 = b * c + mm(m, 512, 128, e, 2, peak, 128) + mm(m, 16384, 7168, e, 2, peak)
    shared = mm(b, 7168, 4096, 1, 4, fp8) + mm(b, 2048, 7168, 1, 4, fp8)
    up, down = (share / 1979 for share in measured(8 * b)) if discount else (1.0, 1.0)
    moe = math.ceil(256 / ep) * (mm(8 * b, 7168, 4096, 1, 4, fp8 * up) + mm(8 * b, 2048, 7168, 1, 4, fp8 * down))
    dispatch, combine = m * 8 * 7168 / network, m * 8 * 7168 * e / network
    if policy == "naive":
        t = att0 + att1 + max(dispatch, shared) + moe + combine
    else:
        t = 2 * (max(dispatch, att0 + shared) + moe + max(combine, att1))
    s = 1 + sum(0.85**i for i in range(1, q))
    return s / (61 * t), bs * s / q / (61 * t)


def measured(m: float) -> tuple[int, int]:
    if m >= 1024:
        return 1233, 925
    if m >= 512:
        return 1040, 916
    if m >= 256:
        return 932, 815
    return (533, 510) if m >= 128 else (287, 295)


def searched(target: float, grid: Grid = GRID, discount: bool = False) -> list[tuple[Any, ...]]:
    """Keys, policy, batch, MTP and tokens/s per GPU of what a search finds, loop by loop."""
    best: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    for gpu in grid.gpus:
        for nic in grid.nics:
            for policy in grid.policies:
                for ep in grid.ep:
                    for e in (2, 1):
                        for mtp in grid.mtp:
                            for bs in range(128, 15, -8):
                                user, rate = by_hand(gpu, nic.bandwidth, policy, ep, e, bs, mtp, discount)
                                if user >= target:
                                    key = (gpu.name, nic.name, ep, e)
                                    if key not in best or rate > best[key][-1]:
                                        best[key] = (policy, bs, mtp, rate)
                                    break
    found = [(*key, *row) for key, row in best.items() if key[0] != "L20" or key[3] == 1]
    return sorted(found, key=lambda row: -row[-1])


def test_constants_are_the_published_ones() -> None:
    """As numbers, so that a slip in a unit of the data file shows."""
    h800, a100, l20 = (GPUS[name] for name in ("H800", "A100", "L20"))
    assert (h800.memory, h800.bf16, h800.fp8) == (3.3 * Ti, 989.5 * Ti, 1979 * Ti)
    assert (h800.exp2, a100.exp2) == pytest.approx((132 * 16 * 1.83 * Gi, 108 * 16 * 1.41 * Gi), rel=1e-15)
    assert (l20.memory, l20.bf16, l20.fp8) == (864 * Gi, 119.5 * Ti, 239 * Ti)
    assert {name: gpu.pipeline for name, gpu in GPUS.items() if gpu.pipeline != "none"} == {
        "H800": "two-stage",
        "H20": "two-stage",
    }
    assert {name: nic.bandwidth for name, nic in NICS.items()} == {"CX7": 40 * Gi, "E810": 10 * Gi}
    assert GRID.batches == (128, 120, 112, 104, 96, 88, 80, 72, 64, 56, 48, 40, 32, 24, 16)


def test_random_configurations_are_what_the_formulas_give() -> None:
    draw = random.Random(7)
    seen = set()
    for _ in range(1500):
        gpu = draw.choice(GRID.gpus).replace(pipeline=draw.choice(["none", "two-stage", "three-stage"]))
        gpu = gpu.replace(memory=gpu.memory * draw.choice([0.01, 1, 100]), clock=gpu.clock * draw.choice([0.1, 1, 100]))
        nic = draw.choice(GRID.nics)
        policy, ep, e = draw.choice(GRID.policies), draw.choice([1, 8, 72, 144, 255, 256, 320]), draw.choice([1, 2])
        bs, mtp, discount = draw.choice([1, 7, 16, 17, 32, 64, 127, 128, 300, 4096]), draw.randrange(5), draw.random() < 0.5
        found = study.rates(study.point(gpu, nic, policy, ep, e, bs, mtp, discount))
        assert (found.user, found.per_gpu) == pytest.approx(
            by_hand(gpu, nic.bandwidth, policy, ep, e, bs, mtp, discount), rel=1e-12
        )
        seen.add((gpu.pipeline, policy, discount))
    assert len(seen) == 12


@pytest.mark.parametrize("rows", [8, 120, 128, 248, 256, 504, 512, 1016, 1024, 4096])
def test_the_discount_steps_at_its_rows(rows: int) -> None:
    """Where compute bounds both expert GEMMs, their time goes with the published rates of the step."""
    gpu = GPUS["H800"].replace(memory=1e30)
    plain, slow = (
        study.rates(study.point(gpu, NICS["CX7"], "naive", 320, 1, rows // 8, discounted=one)).layer for one in (False, True)
    )
    up, down = measured(rows)
    first, second = (2 * max(rows, 128) * 7168 * width / (1979 * Ti) for width in (4096, 2048))
    assert slow - plain == pytest.approx(first * (1979 / up - 1) + second * (1979 / down - 1), rel=1e-9)


def test_arrays_give_what_each_of_their_values_gives() -> None:
    batches, mtp = np.array([16, 24, 128]), np.array([[0], [1]])
    found = study.rates(study.point(GPUS["H20"], NICS["E810"], "dual", 144, 2, batches, mtp))
    assert found.user.shape == found.per_gpu.shape == (2, 3)
    for row in range(2):
        for column, batch in enumerate(batches):
            one = study.rates(study.point(GPUS["H20"], NICS["E810"], "dual", 144, 2, int(batch), row))
            assert (found.user[row, column], found.per_gpu[row, column]) == (one.user, one.per_gpu)


@pytest.mark.parametrize(
    ("gpu", "nic", "policy", "ep", "element", "batch", "user", "per_gpu"),
    [
        ("H800", "CX7", "dual", 320, 1, 128, 28.0091968, 3585.1772),
        ("A100", "CX7", "dual", 144, 1, 72, 21.5502166, 1551.61559),
        ("L40S", "CX7", "naive", 320, 2, 32, 21.9294518, 701.742459),
        ("L20", "E810", "naive", 144, 1, 24, 20.4482826, 490.758782),
        ("H20", "E810", "dual", 144, 1, 32, 22.4026963, 716.886281),
    ],
)
def test_published_figures(
    gpu: str, nic: str, policy: Any, ep: int, element: int, batch: int, user: float, per_gpu: float
) -> None:
    found = study.rates(study.point(GPUS[gpu], NICS[nic], policy, ep, element, batch))
    assert (found.user, found.per_gpu) == pytest.approx((user, per_gpu), rel=1e-8)


# -- the search ---------------------------------------------------------------------------------------------------------------


def test_the_published_table() -> None:
    """Every row, and the rows and the order that the search finds; of equals in KV size the table has now one, now the other."""
    if not TABLE.exists():
        pytest.skip("the published rows (shared/facts beside the checkout) are not here")
    with TABLE.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 36
    found = study.search(20)
    for row, ours in zip(rows, found, strict=True):
        element, batch, mtp = (int(row[name]) for name in ("non_expert_elem_bytes", "batch_per_gpu", "mtp_len"))
        published = pytest.approx((float(row["user_tps"]), float(row["tokens_per_s_per_gpu"])), rel=1e-8)
        policy: Any = row["policy"]
        at = study.point(GPUS[row["gpu"]], NICS[row["nic"]], policy, int(row["ep"]), element, batch, mtp)
        assert (study.rates(at).user, study.rates(at).per_gpu) == published
        assert (ours.user_tps, ours.tokens_per_s_per_gpu) == published
        assert (*ours.key, ours.policy) == (row["gpu"], row["nic"], int(row["ep"]), element, row["policy"])
        assert (ours.batch_per_gpu, ours.mtp_len, ours.moe_fp8_discounted) == (batch, mtp, row["moe_fp8_discounted"] == "TRUE")
        assert int(row["kvcache_elem_bytes"]) in (1, ours.kvcache_elem_bytes)


@pytest.mark.parametrize("target", [0.5, 10, 15, 20, 30, 37.5, 60])
@pytest.mark.parametrize("discount", [False, True])
def test_the_search_finds_what_loops_find(target: float, discount: bool) -> None:
    found = [
        (*row.key, row.policy, row.batch_per_gpu, row.mtp_len, pytest.approx(row.tokens_per_s_per_gpu, rel=1e-12))
        for row in study.search(target, discounted=discount)
    ]
    assert found == searched(target, discount=discount)


def test_the_search_over_another_grid() -> None:
    grid = GRID.replace(gpus=(GPUS["L40S"], GPUS["L20"]), ep=(8, 100), mtp=(1, 2), policies=("dual",))
    found = study.search(12, grid)
    assert [(*row.key, row.policy, row.batch_per_gpu, row.mtp_len) for row in found] == [row[:-1] for row in searched(12, grid)]
    assert {row.ep for row in found} <= {8, 100} and {row.mtp_len for row in found} <= {1, 2} and found


def test_no_larger_batch_reaches_the_target() -> None:
    for row in study.search(25):
        nic = NICS[row.nic]
        at = (row.ep, row.non_expert_elem_bytes)
        here = study.rates(study.point(GPUS[row.gpu], nic, row.policy, *at, row.batch_per_gpu, row.mtp_len))
        assert here.user == row.user_tps >= 25
        for batch in (batch for batch in GRID.batches if batch > row.batch_per_gpu):
            assert study.rates(study.point(GPUS[row.gpu], nic, row.policy, *at, batch, row.mtp_len)).user < 25


def test_order_keys_and_ties() -> None:
    found = study.search(15)
    speeds = [row.tokens_per_s_per_gpu for row in found]
    assert speeds == sorted(speeds, reverse=True)
    assert len({row.key for row in found}) == len(found) == 36
    assert {row.key for row in found} == set(study.combinations())
    # Of equals in KV size the first of the grid is kept, which is 2 bytes; there is none of 2 bytes with 1-byte weights.
    assert all(row.kvcache_elem_bytes == row.non_expert_elem_bytes for row in found)
    other = GRID.replace(elements=tuple(sorted(GRID.elements)))
    assert {row.kvcache_elem_bytes for row in study.search(15, other)} == {1}
    # EP 320 and 512 have one expert per GPU each, and equal rates: they stand in the order of the grid.
    first, second = study.search(15, GRID.replace(gpus=(GPUS["H800"],), nics=(NICS["CX7"],), ep=(320, 512)))[:2]
    assert (first.ep, second.ep) == (320, 512) and first.tokens_per_s_per_gpu == second.tokens_per_s_per_gpu


def test_what_is_known_of_memory() -> None:
    assert not [row for row in study.search(1) if row.gpu == "L20" and row.non_expert_elem_bytes == 2]
    assert not [row for row in study.search(15) if study.beyond(row)]
    largest = {row.ep: row.batch_per_gpu for row in study.search(15) if (row.gpu, row.nic) == ("L20", "CX7")}
    assert largest == {320: 56, 144: 48}
    assert {row.gpu for row in study.search(5) if study.beyond(row)} == {"L20"}


# -- the command --------------------------------------------------------------------------------------------------------------


def read(path: Path) -> list[Row]:
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    kinds = {name: type(getattr(study.search(20)[0], name)) for name in study.COLUMNS}
    kinds[next(name for name, kind in kinds.items() if kind is bool)] = "TRUE".__eq__
    return [Row(**{name: kinds[name](text) for name, text in row.items()}) for row in rows]


@pytest.mark.parametrize("options", [(), ("--moe-discount",)])
def test_the_csv_has_every_digit(dsbench: Dsbench, tmp_path: Path, options: tuple[str, ...]) -> None:
    path = tmp_path / "new" / "rows.csv"
    arguments = ("--model", "deepseek_v3", "--variant", "published", "--target-tps", "20")
    code, out, err = dsbench(*arguments, "--csv", str(path), *options)
    assert (code, err, out[-1]) == (0, [], f"written: {path}")
    lines = path.read_bytes().decode().split("\n")
    assert lines[0] == COLUMNS and lines[-1] == ""
    assert all(line.split(",")[7] == ("TRUE" if options else "FALSE") for line in lines[1:-1])
    assert tuple(read(path)) == study.search(20, discounted=bool(options))
    assert tuple(read(path)) != study.search(20, discounted=not options)


def test_the_table_and_what_it_leaves_out(dsbench: Dsbench) -> None:
    code, out, err = dsbench("--variant", "published")
    assert (code, err) == (0, [])
    assert out[0].startswith("DeepSeek-V3, decode at a context of 5120 tokens, by the published study's formulas: 20 tokens/s")
    cells = [line.split() for line in out]
    assert cells[3] == ["H800", "CX7", "dual", "320", "128", "0", "1", "1", "28.01", "3585.2"]
    assert [row[0] for row in cells[3:39]] == [row.gpu for row in study.search(20)] and cells[39] == []
    text = "\n".join(out[40:])
    assert "36 of the 36 combinations" in text and "computed, not measured" in text
    assert "L20 with non-expert weights of 2 bytes" in text and "the one with 2 bytes is shown" in text
    assert "*" not in text and "at the rates that the study measured" not in text
    assert "at the rates that the study measured" in "\n".join(dsbench("--variant", "published", "--moe-discount")[1])


def test_a_batch_larger_than_known_to_fit_is_marked(dsbench: Dsbench) -> None:
    _, out, _ = dsbench("--variant", "published", "--target-tps", "12", "--gpu", "l20,h800", "--ep", "320")
    marked = [line.split() for line in out if "*" in line]
    assert {row[0] for row in marked[:-1]} == {"L20"} and all(int(row[4].rstrip("*")) > 56 for row in marked[:-1])
    assert out[-1].startswith("*: a larger batch than") and out[-1].endswith("56 on L20 at EP320")


def test_names_in_any_case_and_the_order_of_words(dsbench: Dsbench) -> None:
    first = dsbench(
        "--variant", "published", "--gpu", "H800, l40s", "--nic", "CX7", "--ep", "320,144,320", "--policy", "Dual", "--mtp", "1,0"
    )
    second = dsbench(
        "--variant", "published", "--gpu", "L40S,h800", "--nic", "cx7", "--ep", "144,320", "--policy", "dual", "--mtp", "0,1"
    )
    assert first == second and first[0] == 0
    assert {line.split()[0] for line in first[1][3:9]} == {"H800", "L40S"}


def test_a_target_that_nothing_reaches(dsbench: Dsbench, tmp_path: Path) -> None:
    code, out, err = dsbench("--variant", "published", "--target-tps", "1000", "--csv", str(tmp_path / "none.csv"))
    sentence = (
        "no batch of 128 to 16 sequences per GPU leaves each user 1000 tokens/s, on any of the 36 combinations of GPU, NIC,"
    )
    assert (code, err, len(out)) == (0, [], 2) and out[0].startswith(sentence)
    assert (tmp_path / "none.csv").read_text() == COLUMNS + "\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--variant", "publish"), "--variant: unknown variant 'publish'; did you mean 'published'?"),
        (("--gpu", "h801"), "--gpu: unknown GPU of the study 'h801'; did you mean 'h800'? known: a100, h20, h800, l20, l40s"),
        (("--gpu", "h800,"), "--gpu: unknown GPU of the study ''; known: "),
        (("--nic", "cx8"), "--nic: unknown NIC of the study 'cx8'; did you mean 'cx7'? known: cx7, e810"),
        (("--policy", "duel"), "--policy: unknown policy 'duel'; did you mean 'dual'? known: dual, naive"),
        (("--model", "qwen3_8b"), "--model qwen3_8b: the published variant knows the shape of deepseek_v3 alone"),
        (("--ep", "0"), "--ep '0': expected whole numbers from 1 to 1000000, such as 64"),
        (("--ep", "144,x"), "--ep '144,x': expected whole numbers"),
        (("--ep", "9" * 5000), "--ep '999"),
        (("--mtp", "-1"), "--mtp '-1': expected whole numbers from 0 to 1000000, such as 64"),
        (("--mtp", "1.5"), "--mtp '1.5': expected whole numbers"),
        (("--target-tps", "nan"), "--target-tps nan: expected tokens per second above zero, such as 20"),
        (("--target-tps", "inf"), "--target-tps inf: expected tokens"),
        (("--target-tps", "0"), "--target-tps 0: expected tokens"),
        (("--target-tps=-5",), "--target-tps -5: expected tokens"),
        (("--target-tps", "fast"), "serve: argument --target-tps: invalid float value: 'fast'"),
        (("--gpus", "h800"), "unknown argument of serve '--gpus'; did you mean '--gpu'?"),
    ],
)
def test_mistakes_are_one_sentence(dsbench: Dsbench, arguments: tuple[str, ...], sentence: str) -> None:
    variant = () if "--variant" in arguments else ("--variant", "published")
    code, out, err = dsbench(*variant, *arguments)
    assert (code, out, len(err)) == (2, [], 1) and err[0].startswith(f"dsbench: {sentence}")


def test_a_csv_that_cannot_be_written(dsbench: Dsbench, tmp_path: Path) -> None:
    code, out, err = dsbench("--variant", "published", "--csv", str(tmp_path))
    assert (code, out) == (2, []) and err == [f"dsbench: cannot write {tmp_path}: Is a directory"]


def test_an_option_of_another_variant_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "_OWN", {"published": frozenset({"moe_discount"}), "other": frozenset({"tp_size", "explain"})})
    serve._check_own(argparse.Namespace(variant="published", moe_discount=True, tp_size=None, explain=False))
    serve._check_own(argparse.Namespace(variant="other", moe_discount=False, tp_size=0, explain=True))
    with pytest.raises(
        Mistake, match=r"^--tp-size: the published variant has no such option; leave it out, or give --variant other$"
    ):
        serve._check_own(argparse.Namespace(variant="published", moe_discount=False, tp_size=0, explain=False))
    with pytest.raises(Mistake, match=r"^--moe-discount: the other variant has no such option"):
        serve._check_own(argparse.Namespace(variant="other", moe_discount=True, tp_size=None, explain=False))
