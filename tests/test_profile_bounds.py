"""Rows of a layer profile against the speed of light, devices side by side, doubts, and the picture."""

import re
from pathlib import Path

import pytest

from pytest_dsbench.__main__ import main
from pytest_dsbench.hardware import Hardware, named
from pytest_dsbench.mistake import Mistake
from pytest_dsbench.profile import Device, Profile, Row, bounds, load
from pytest_dsbench.profile.bounds import Stated, at_most, lit
from pytest_dsbench.profile.compare import compare, foreign
from pytest_dsbench.profile.lights import lights
from pytest_dsbench.profile.waterfall import bars, left, panels, places
from pytest_dsbench.report.profile_bounds import bound_lines

ROOT = Path(__file__).parent.parent
SHIPPED = ROOT / "profiles" / "deepseek_d4.toml"
#: 1 TB/s, 100 TFLOP/s of bf16, a cache of 1 MB; and a device twice as fast in bytes, four times in FLOP.
SLOW = Hardware(name="slow", title="slow", peak={"bf16": 100e12, "fp32": 10e12}, bandwidth=1e12, l2=1e6, source="made up")
FAST = SLOW.replace(name="fast", title="fast", peak={"bf16": 400e12, "fp32": 20e12}, bandwidth=2e12)
SHEETS = {"slow": SLOW, "fast": FAST}


def profile(*rows: Row, **more: object) -> Profile:
    known = {"devices": (Device(name="slow"), Device(name="fast")), "variables": {"tokens": "new tokens", "experts": "experts"}}
    return Profile(profile="p", rows=rows, path="p.toml", **(known | more))  # type: ignore[arg-type]


def gemm(slow: float | None, fast: float | None = None, m: object = "= tokens", **more: object) -> Row:
    """A product of m x 1000 x 1000 in bf16: 2e6 B of weights and 4,000 m B of the rest; 2e6 m FLOP."""
    seconds = {name: time for name, time in (("slow", slow), ("fast", fast)) if time is not None}
    dims = {"m": m, "n": 1000, "k": 1000}
    return Row(group="g", module="gemm", kernel="k", seconds=seconds, operator="matmul", dims=dims, **more)  # type: ignore[arg-type]


def test_t_sol_of_a_row_by_hand() -> None:
    row = gemm(10e-6)
    found = lit(row, Device(name="slow"), SLOW, {"tokens": 100})
    # 2e6 + 4,000 * 100 B at 1 TB/s are 2.4 us; 2e8 FLOP at 100 TFLOP/s are 2 us.
    assert found.bound.seconds == pytest.approx(2.4e-6)
    assert (found.bound.regime, found.efficiency) == ("memory", pytest.approx(0.24))
    # Of 2.2e6 B read 1e6 may be in the cache, and the 2e5 B written may stay there: 1.2 us, and compute takes 2 us.
    assert found.least == pytest.approx(2e-6)


def test_launches_and_batches_multiply_the_work() -> None:
    def seconds(row: Row) -> float:
        return lit(row, Device(name="slow"), SLOW, {"tokens": 100, "experts": 3}).bound.seconds

    assert seconds(gemm(1e-3, times="= experts")) == pytest.approx(3 * 2.4e-6)
    assert seconds(gemm(1e-3, times=2, calls=5)) == pytest.approx(10 * 2.4e-6)
    with pytest.raises(Mistake, match="times is 0; expected a whole number from 1 on"):
        seconds(gemm(1e-3, times="= experts - 3"))


def test_the_largest_size_that_a_time_allows() -> None:
    device = Device(name="slow")
    # Memory: 2e6 + 4,000 m B <= 2.4e6 B; with the cache compute binds: 2e6 m FLOP <= 2.4e8.
    most = at_most(gemm(2.4e-6), device, SLOW, {}, "tokens")
    assert (most.cold, most.warm) == (100, 120)
    # A time that was rounded to 0.04 us may have been that much longer.
    assert at_most(gemm(2.4e-6, rounding={"slow": 0.04e-6}), device, SLOW, {}, "tokens").cold == 110
    # The weights alone take 2 us from memory.
    assert at_most(gemm(1.5e-6), device, SLOW, {}, "tokens") == bounds.Most(cold=0, warm=75)
    # Experts of one row each: 2,004,000 B.
    several = gemm(10e-6, times="= experts")
    assert at_most(several, device, SLOW, {}, "experts").cold == 4
    assert at_most(several, device, SLOW, {"tokens": 100}, "experts").cold == 4
    assert at_most(several, device, SLOW, {"tokens": 1000}, "experts").cold == 0
    # Nothing that the variable changes takes time.
    free = gemm(10e-6, m="= 1 + tokens * 0")
    assert at_most(free, device, SLOW, {}, "tokens").cold is None


def test_what_is_stated_goes_before_what_the_profile_knows() -> None:
    devices = (Device(name="slow", constants={"tokens": 7}), Device(name="fast"))
    one = profile(gemm(1e-3, 1e-3), devices=devices, constants={"hidden": 8})
    assert Stated().scope(one, devices[0]) == {"hidden": 8, "tokens": 7}
    found = bounds.stated(one, ["tokens=3", "fast.tokens=5"])
    assert found.scope(one, devices[0])["tokens"] == 3
    assert found.scope(one, devices[1])["tokens"] == 5


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("tokns=3", "unknown variable of this profile 'tokns'; did you mean 'tokens'[?] known: experts, tokens"),
        ("slw.tokens=3", "unknown device 'slw'; did you mean 'slow'"),
        ("tokens", "expected NAME=N or DEVICE.NAME=N"),
        ("tokens=0", "whole number from 1 on"),
        ("tokens=-1", "whole number from 1 on"),
        ("tokens=1.5", "whole number from 1 on"),
        ("tokens=many", "whole number from 1 on"),
        ("=3", "unknown variable"),
    ],
)
def test_a_wrong_statement_is_one_sentence(given: str, sentence: str) -> None:
    with pytest.raises(Mistake, match=f"--at '{given}': .*{sentence}"):
        bounds.stated(profile(gemm(1e-3)), [given])


def test_only_what_no_cache_explains_beats_the_speed_of_light() -> None:
    def found(seconds: float, **more: object) -> tuple[int, list[bool]]:
        light = lights(profile(gemm(seconds, **more)), SHEETS, Stated(everywhere={"tokens": 100}))  # type: ignore[arg-type]
        return len(light.errors), [one.cached for one in light.lit]

    assert found(2.5e-6) == (0, [False])
    # T_SOL is 2.4 us, and 2 us of it are compute.
    assert found(2.2e-6) == (0, [True])
    assert found(1.9e-6) == (1, [False])
    # 1.9 us may stand for 2.05 us where that is how it was rounded.
    assert found(1.9e-6, rounding={"slow": 0.15e-6}) == (0, [True])
    bare = {"slow": SLOW.replace(l2=None)}
    assert lights(profile(gemm(2.2e-6)), bare, Stated(everywhere={"tokens": 100})).errors


def test_a_time_that_no_size_allows_is_an_error_without_any_statement() -> None:
    # The half of the weights that no cache holds takes 1 us.
    light = lights(profile(gemm(0.5e-6)), SHEETS, Stated())
    assert len(light.errors) == 1 and "which no size allows" in light.errors[0]


def test_a_row_that_cannot_be_built_is_named_and_the_others_are_used() -> None:
    wrong = gemm(1e-3, m="= tokens - 100", line=7)
    light = lights(profile(wrong, gemm(1e-3)), SHEETS, Stated(everywhere={"tokens": 100}))
    assert len(light.lit) == 1
    (gap,) = light.gaps
    assert gap.startswith("no bound of gemm k on slow: p.toml:7: matmul: dimension 'm' is 0")


def test_ratios_and_what_the_sheets_alone_would_give() -> None:
    one = profile(gemm(10e-6, 20e-6), gemm(10e-6), Row(group="g", kernel="u", seconds={"slow": 4e-6, "fast": 1e-6}))
    found = compare(one, one.devices[1], SHEETS, Stated())
    assert (found.before, found.after) == (pytest.approx(14e-6), pytest.approx(21e-6))
    mapped, unmapped = found.pairs
    assert found.faster == "fast" and [pair.row.module for pair in found.slower()] == ["gemm"]
    # Half of the time where memory binds, a quarter where compute does: twice the time is 4 to 8 times the work.
    assert (mapped.ratio, mapped.sheets, mapped.work) == (2.0, (0.25, 0.5), (4.0, 8.0))
    assert (unmapped.ratio, unmapped.sheets, unmapped.work) == (0.25, None, None)
    (again, _) = compare(one, one.devices[1], SHEETS, Stated(everywhere={"tokens": 100}, on={"fast": {"tokens": 1000}})).pairs
    # The same 100 tokens, bound by memory on both; 1,000 of them are 6e6 B or 2e9 FLOP, 5 us on the fast one.
    assert again.sheets == pytest.approx((0.5, 0.5))
    assert again.stated == pytest.approx(5.0 / 2.4)


def test_who_is_faster_is_what_the_sheets_say() -> None:
    one = profile(gemm(10e-6, 20e-6))

    def faster(**sheets: Hardware) -> str | None:
        return compare(one, one.devices[1], sheets, Stated()).faster

    assert faster(slow=SLOW, fast=FAST) == "fast"
    assert faster(slow=FAST, fast=SLOW) == "slow"
    assert faster(slow=SLOW, fast=SLOW) is None
    assert faster(slow=SLOW, fast=FAST.replace(bandwidth=0.5e12)) is None
    assert faster(slow=SLOW) is None
    reverse = compare(one, one.devices[1], {"slow": FAST, "fast": SLOW}, Stated())
    assert reverse.slower() == []


@pytest.mark.parametrize(
    ("kernel", "foreign_to"),
    [
        ("deep_gemm::sm100_fp8", {"h800"}),
        ("mhaSm100fKernel_Qkv", {"h800"}),
        ("cutlass_sm_120a_gemm", {"h800", "b200"}),
        ("SM103_kernel", {"h800", "b200"}),
        ("sm90_xmma_gemm", set()),
        ("sm80_xmma_gemm", set()),
        ("prism100_kernel", set()),
        ("sm32_tiles", set()),
        ("sm1000_tiles", set()),
    ],
)
def test_kernels_that_are_named_for_a_newer_architecture(kernel: str, foreign_to: set[str]) -> None:
    names = ("h800", "b200", "xpu_a")
    row = Row(group="g", kernel=kernel, seconds=dict.fromkeys(names, 1e-6))
    one = profile(row, devices=tuple(Device(name=name, hw=name) for name in names))
    found = foreign(one, {name: named(name) for name in names})
    assert {doubt.device.name for doubt in found} == foreign_to
    if foreign_to == {"h800"}:
        assert found[0].possible == ("b200",)


def test_the_shipped_profile_without_a_batch(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", str(SHIPPED)]) == 0
    said = capsys.readouterr().out
    assert "against the speed of light" not in said
    # o_proj on H800: 2 * 7168 * 16384 FLOP per token at 1,979 TFLOP/s, in 50.5 us at most.
    tokens = int(50.5e-6 * 1979e12 / (2 * 7168 * 16384))
    assert f"so on h800 at most: tokens {tokens} (by self.o_proj" in said
    # 195.136 / 81 over the bandwidths' 3.35 / 7.7.
    assert f"did {195.136 / 81 / (1979 / 4500):.2f}x to {195.136 / 81 / (3.35 / 7.7):.2f}x the work of h800" in said
    for line in (
        "SLOWER on b200, the faster device: up_gate_gemm",
        "SLOWER on b200, the faster device: down_gemm",
        "61 x 1,116 us = 68.08 ms of the published 87.32 ms of 61 layers: at least 78.0 % explained",
        "58 of the 61 layers are of this kind: 64.73 ms, 74.1 %",
        "published step: 96.00 ms; the layers are 91.0 % of it, 8.68 ms (9.0 %) lie outside of them",
        "6 rows are hidden behind combine: more than 34 us, not added; they fit into its 394 us",
        "doubt: h800 is sm_90",
    ):
        assert line in said


def test_the_shipped_profile_with_a_batch(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", str(SHIPPED), "--at", "tokens=128", "--at", "b200.tokens=256"]) == 0
    said = capsys.readouterr().out
    # fp8 codes of both operands, fp32 scales per 128 and per 128 x 128, a bf16 output.
    moved = 128 * 16384 + 7168 * 16384 + 4 * (128 * 128 + 56 * 128) + 2 * 128 * 7168
    share = moved / 3.35e12 / 50e-6
    assert re.search(rf"self\.o_proj +deep_gemm::sm100_fp8_gem .* 50 us .* {100 * share:.1f} % +memory", said)
    assert "context: keys that each sequence sees" in said


def test_what_is_known_of_one_device_alone_is_open_on_the_other() -> None:
    devices = (Device(name="slow", constants={"batch": 100}), Device(name="fast"))
    one = profile(gemm(1e-3, 1e-3, m="= batch"), devices=devices)
    light = lights(one, SHEETS, Stated())
    assert [(one.device, one.bound.seconds) for one in light.lit] == [("slow", pytest.approx(2.4e-6))]
    assert [(one.device, one.variable) for one in light.open] == [("fast", "batch")]
    assert "  batch: published of another device alone" in list(bound_lines(one, light))
    assert len(lights(one, SHEETS, bounds.stated(one, ["fast.batch=3"])).lit) == 2


def test_the_exit_code_is_one_where_light_is_beaten(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", str(SHIPPED), "--at", "tokens=700"]) == 1
    said = capsys.readouterr().out
    assert "error: self.o_proj deep_gemm::sm100_fp8_gem on h800 took 50 us, " in said
    assert "b200 took" not in said
    for wrong in (["--at", "tokns=3"], ["--hw", "h800"], ["--hw", "h80=h200"], ["--hw", "h800=h2000"], ["--plot", "x.pdf"]):
        assert main(["profile", str(SHIPPED), *wrong]) == 2
        said = capsys.readouterr()
        assert said.out == "" and said.err.count("\n") == 1


def test_a_sheet_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "p.csv"
    path.write_text("group,kernel,gpu0_us,operator,dims\ng,k,10,matmul,m=1 n=7168 k=2048\n")
    assert main(["profile", str(path)]) == 0
    assert "against the speed of light" not in capsys.readouterr().out
    assert main(["profile", str(path), "--hw", "gpu0=h200"]) == 0
    # 29,360,128 B of weights, 4,096 B and 14,336 B of the rest at 4.8 TB/s.
    assert f"{29378560 / 4.8e12 / 10e-6:.1%}".replace("%", " %") in capsys.readouterr().out


def test_bars_follow_each_other_and_hidden_ones_begin_with_what_hides_them() -> None:
    one = load(SHIPPED)
    shown = list(bars(one))
    assert panels(one, shown) == ["h800"]
    found = places(shown, "h800", ["b200"], goes_on=True)
    by_label = dict(zip([(bar.group, bar.label) for bar in shown], found, strict=True))
    combine = by_label["moe", "combine"]
    assert (combine.left, combine.right) == (pytest.approx(722e-6), pytest.approx(1116e-6))
    hidden = [place for bar, place in zip(shown, found, strict=True) if bar.hidden]
    assert [place.left for place in hidden] == pytest.approx([722e-6, 725e-6, 742e-6, 746e-6])
    assert by_label["moe", "up_gate_gemm deep_gemm::sm100_fp8_gem"].text == "81 us; b200 195.136 us (2.41x)"
    assert left(one, "h800") == pytest.approx(87.32e-3 / 61 - 1116e-6)
    assert sum(place.seconds or 0 for bar, place in zip(shown, found, strict=True) if not bar.hidden) == pytest.approx(1116e-6)


def test_the_shortest_of_many_rows_become_one_bar() -> None:
    rows = [Row(group="g", module=f"m{n}", seconds={"slow": (1 + 99 * (n % 10 == 0)) * 1e-6}) for n in range(300)]
    hidden = Row(group="o", kernel="h", seconds={"slow": 200e-6}, hidden_by="m3")
    one = profile(*rows, hidden)
    shown = list(bars(one))
    # 40 and the row that hides alone, and one bar in front of each and behind the last.
    assert 40 < len(shown) <= 84
    assert sum(bar.seconds("slow") or 0 for bar in shown if not bar.hidden) == pytest.approx((30 * 100 + 270) * 1e-6)
    number = next(number for number, bar in enumerate(shown) if bar.hidden)
    assert shown[number - 1].label == "m3"
    assert places(shown, "slow", [], goes_on=False)[number].left == pytest.approx(102e-6)


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_the_picture_is_drawn(tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    rows = "层,n,$a_{$,4,3,\n层,m,<k>&x,9,,7\nq,w,,1,2,\nm overlap,,z,3,3,\n,2 layers,,40,,\n"
    text = f"group,module,kernel,h200_us,b200_us,gpu_us\n{rows}"
    path, drawn = tmp_path / "p.csv", tmp_path / f"p{suffix}"
    path.write_text(text, encoding="utf-8")
    assert main(["profile", str(path), "--plot", str(drawn)]) == 0
    assert f"drawn to {drawn}" in capsys.readouterr().out
    begins = drawn.read_bytes()[:200]
    assert begins.startswith(b"\x89PNG") if suffix == ".png" else b"<svg" in drawn.read_bytes()[:2000]
    assert main(["profile", str(path), "--plot", str(tmp_path / "no" / f"p{suffix}")]) == 2
    assert "--plot: cannot write" in capsys.readouterr().err
