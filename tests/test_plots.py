"""The pictures: what stands on them and where, held against numbers computed by hand. No pixel is compared."""

import math
import struct
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import reported

from pytest_dsbench.hardware import load
from pytest_dsbench.measurement import Measurement, Planned, planned
from pytest_dsbench.mistake import Mistake
from pytest_dsbench.operator import CATEGORIES
from pytest_dsbench.operators import find
from pytest_dsbench.results import Collection, Device, collect, compare
from pytest_dsbench.roofline import bound
from pytest_dsbench.runs import Header
from pytest_dsbench.score import entries, score
from pytest_dsbench.shapes import Case
from pytest_dsbench.stats import Estimate
from pytest_dsbench.work import Work

pytest.importorskip("matplotlib")

from pytest_dsbench.report.plots import draw, save
from pytest_dsbench.report.plots.comparison import comparison, last_two, of_device
from pytest_dsbench.report.plots.history import history
from pytest_dsbench.report.plots.lettering import fitted, plain, stacked, width_of, wrapped
from pytest_dsbench.report.plots.operators import by_operator, efficiency
from pytest_dsbench.report.plots.roofline import roofline, roofs
from pytest_dsbench.report.plots.scaling import scaling
from pytest_dsbench.report.plots.style import looks, styled
from pytest_dsbench.report.plots.sweeps import chosen, numbers, sweeps

#: What breaks a picture that takes text for more than text.
HOSTILE = "$x_1$ {\\frac 1$ <&> \x00\n卡 \ud7ff " + "W" * 120


def case(operator: str, **dims: Any) -> Case:
    """A case of an operator at some dimensions."""
    return Case(op=find(operator).build(dims), label="-".join(f"{k}{v}" for k, v in dims.items()), path="a.toml", line=1)


def device(folder: Path, head: Header, lines: Iterable[Measurement]) -> Device:
    """The device of a run of these records."""
    (found,) = collect([reported.write(folder, head, lines)]).devices
    return found


def artists(axes: Any, gid: str) -> list[Any]:
    return [one for one in axes.get_children() if one.get_gid() == gid]


def points(axes: Any, gid: str) -> list[tuple[float, float]]:
    """All points of the lines with that gid."""
    return [(float(x), float(y)) for line in artists(axes, gid) for x, y in zip(*line.get_data(), strict=True)]


def panel(figure: Any, label: str) -> Any:
    return next(axes for axes in figure.axes if axes.get_label() == label)


def words(figure: Any) -> list[Any]:
    """Every text that can be read."""
    from matplotlib.text import Text

    return [one for one in figure.findobj(Text) if one.get_text().strip() and one.get_visible()]


def said(figure: Any) -> str:
    return " ".join(one.get_text() for one in words(figure))


def boxes(figure: Any, found: Iterable[Any]) -> list[Any]:
    return [one.get_window_extent(figure.canvas.get_renderer()) for one in found]


def rendered(figure: Any) -> None:
    """Draws it as a .png is drawn, without a file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    styled(FigureCanvasAgg(figure).draw)()


def check_inside(figure: Any) -> None:
    """No text leaves the page."""
    rendered(figure)
    width, height = figure.get_size_inches() * figure.dpi
    # Ticks beyond the ends of an axis are made and not drawn.
    ticks = [
        (tick, axis.get_view_interval()) for axes in figure.axes for axis in (axes.xaxis, axes.yaxis) for tick in axis.majorTicks
    ]
    beyond = {tick.label1 for tick, (low, high) in ticks if not min(low, high) <= tick.get_loc() <= max(low, high)}
    texts = [text for text in words(figure) if text not in beyond]
    for text, box in zip(texts, boxes(figure, texts), strict=True):
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height, (text.get_text(), box)


def check_apart(figure: Any, found: list[Any]) -> None:
    """No two of these texts meet."""
    placed = list(zip(found, boxes(figure, found), strict=True))
    for i, (text, box) in enumerate(placed):
        for other, around in placed[:i]:
            assert not box.overlaps(around), (text.get_text(), other.get_text())


def gids(figure: Any, gid: str) -> list[Any]:
    return [text for text in figure.texts if text.get_gid() == gid]


# -- words and looks ----------------------------------------------------------------------------------------------------------


def test_text_is_one_line_of_letters_that_the_font_has() -> None:
    assert plain("a\x00b\n c\t名\ud7ff e") == "ab c □□ e"
    assert plain("naïve µs Ω → …") == "naïve µs Ω → …"


@pytest.mark.parametrize("text", ["short", "W" * 200, "a_$b$ " * 40, "", "i"])
@pytest.mark.parametrize("width", [0.3, 1.0, 3.0])
def test_fitted_text_fits(text: str, width: float) -> None:
    cut = fitted(text, width, 8.0)
    assert width_of(cut, 8.0) <= width
    assert cut == plain(text) or ("…" in cut and text.startswith(cut.split("…")[0]) and text.strip().endswith(cut.split("…")[1]))


def test_wrapped_text_keeps_its_words() -> None:
    lines = wrapped("one two three four five six seven", 1.0, 8.0)
    assert len(lines) > 1 and " ".join(lines) == "one two three four five six seven"
    assert all(width_of(line, 8.0) <= 1.0 for line in lines)


def test_stacked_places_keep_apart_in_their_order() -> None:
    assert stacked([1.0, 5.0, 1.2], 1.0) == [1.0, 5.0, 2.0]
    assert stacked([9.5, 9.6, 9.7], 1.0, most=10.0) == [8.0, 9.0, 10.0]
    assert stacked([], 1.0) == []


def test_every_category_has_a_shape_of_its_own() -> None:
    found = looks([*CATEGORIES, "mine", "theirs"])
    assert len({one.marker for name, one in found.items() if name in CATEGORIES}) == len(CATEGORIES)
    assert len({(one.colour, one.marker) for one in found.values()}) == len(CATEGORIES) + 2
    assert looks(["gemm"])["gemm"] == found["gemm"]


# -- the roofline -------------------------------------------------------------------------------------------------------------


def mixed() -> Iterator[Measurement]:
    """Records of every kind: counting, floor-bound, warm, noisy, invalid, skipped, without an interval, without FLOP."""
    head = reported.header("h200")
    ones = [case("rms_norm", tokens=64 * n, hidden=4096) for n in range(1, 9)]
    kinds: list[dict[str, Any]] = [
        {"efficiency": 0.5, "width": 0.25},
        {"efficiency": 0.25, "notes": ("floor-bound: less than three empty launches",)},
        {"efficiency": 2.0, "cold": False},
        {"efficiency": 0.4, "status": "noisy_host"},
        {"efficiency": 1.7, "status": "invalid"},
        {"efficiency": None, "status": "skipped"},
        {"efficiency": None, "status": "failed"},
    ]
    yield from (reported.record(one, head, **kind) for one, kind in zip(ones, kinds, strict=False))
    bare = reported.record(ones[7], head, 0.5)
    assert bare.time is not None
    yield bare.replace(time=bare.time.replace(n=1, low=bare.time.median, high=bare.time.median))
    yield reported.record(case("matmul", m=4096, n=4096, k=4096), head, 0.8)
    yield reported.record(case("moe_align_block_size", tokens=1024, experts=128, top_k=8), head, 0.5, width=0.25)


@pytest.fixture(scope="module")
def h200(tmp_path_factory: pytest.TempPathFactory) -> Device:
    return device(tmp_path_factory.mktemp("mixed"), reported.header("h200"), mixed())


def test_roofs_of_one_peak_are_one(h200: Device) -> None:
    found = {one.units: one for one in roofs(h200.hardware, h200.latest)}
    assert list(found) == [("fp32", "fp64"), ("tf32",), ("bf16", "fp16"), ("fp8", "int8")]
    assert found["fp8", "int8"].label == "fp8, int8  1979 TFLOP/s"
    # 989.5e12 / 4.8e12
    assert found["bf16", "fp16"].ridge == pytest.approx(206.1458, rel=1e-5)
    assert [one.used for one in found.values()] == ["bf16" in units or "fp32" in units for units in found]


def test_ridge_points_stand_where_slope_and_roof_meet(h200: Device) -> None:
    figure = roofline(h200)
    ridges = points(panel(figure, "roofline"), "ridge")
    peaks = [67e12, 494.7e12, 989.5e12, 1979e12]
    assert ridges == [pytest.approx((peak / 4.8e12, peak)) for peak in peaks]
    labels = [text.get_text() for text in gids(figure, "ridge label")]
    assert labels == ["14.0 FLOP/B", "103 FLOP/B", "206 FLOP/B", "412 FLOP/B"]
    (slope,) = artists(panel(figure, "roofline"), "slope")
    assert [y / x for x, y in zip(*slope.get_data(), strict=True)] == pytest.approx([4.8e12, 4.8e12])


def test_every_timed_case_is_a_point(h200: Device) -> None:
    figure = roofline(h200)
    axes = panel(figure, "roofline")
    shown = points(axes, "cases")
    assert len(shown) == 7 and len(points(panel(figure, "without FLOP"), "cases")) == 1
    # 2 * 4096^3 FLOP over 3 * 4096^2 * 2 bytes, at 80 % of 989.5 TFLOP/s
    assert any(point == pytest.approx((4096 / 3, 0.8 * 989.5e12)) for point in shown)
    (low, high), (left, right) = axes.get_ylim(), axes.get_xlim()
    assert all(left < x < right and low < y < high for x, y in shown), "also those above a roof"


def test_error_bars_end_where_the_interval_does(h200: Device) -> None:
    axes = panel(roofline(h200), "roofline")
    (bars,) = artists(axes, "intervals")
    ends = [sorted(float(y) for _, y in bar) for bar in bars.get_segments()]
    # All but the one of a single time have an interval.
    assert len(ends) == 6
    first = next(one for one in h200.latest if one.case.dims.get("tokens") == 64)
    assert first.measurement.work is not None and first.t_sol is not None
    # T = T_SOL / 0.5, its interval +-25 %
    rates = [first.measurement.work.flops / (2 * first.t_sol * factor) for factor in (1.25, 0.75)]
    assert any(end == pytest.approx(rates) for end in ends)


def test_what_does_not_count_is_hollow_and_explained(h200: Device) -> None:
    figure = roofline(h200)
    lines = artists(panel(figure, "roofline"), "cases")
    hollow = [line for line in lines if line.get_markerfacecolor() == "none"]
    assert sum(len(line.get_xdata()) for line in hollow) == 3
    assert len(points(panel(figure, "roofline"), "wrong")) == 1
    assert [line.get_fillstyle() for line in lines].count("left") == 1
    text = said(figure)
    assert "Hollow, where a case does not count: 1 from a warm cache, 1 noisy host, 1 invalid; crossed where" in text
    assert "Half filled: 1 floor-bound" in text
    assert "2 more have no time: 1 skipped, 1 failed." in text
    assert "Without an error bar, since a single time has no interval: 1." in text
    assert "Without any FLOP: 1, which stand below" in text


def test_without_flop_a_case_stands_by_its_share_of_the_bandwidth(h200: Device) -> None:
    axes = panel(roofline(h200), "without FLOP")
    assert [label.get_text() for label in axes.get_yticklabels()] == ["moe_align_block_size"]
    # Memory binds it, so that the share is the efficiency.
    assert points(axes, "cases") == [pytest.approx((0.5, 0.0))]
    (bars,) = artists(axes, "intervals")
    assert sorted(float(x) for x, _ in bars.get_segments()[0]) == pytest.approx([0.5 / 1.25, 0.5 / 0.75])


def test_a_picture_says_where_it_comes_from(h200: Device) -> None:
    text = said(roofline(h200))
    assert "Roofline of NVIDIA H200 SXM (h200)" in text
    assert "run of 2026-11-01 01:00 UTC · driver 580.1" in text
    assert f"from {h200.sources[0].path}" in text


@pytest.mark.parametrize("hw", ["h200", "b200", "xpu_a", "gb200"])
def test_labels_of_roofs_do_not_meet(hw: str, tmp_path: Path) -> None:
    head = reported.header(hw)
    figure = roofline(device(tmp_path, head, [reported.record(case("rms_norm", tokens=8, hidden=64), head)]))
    check_inside(figure)
    labels = gids(figure, "roof label")
    assert len(labels) == len(set(head.hardware.peak.values()))
    check_apart(figure, labels)
    check_apart(figure, [*gids(figure, "ridge label"), *gids(figure, "slope label")])


def test_near_roofs_are_told_apart(tmp_path: Path) -> None:
    peaks = {unit: 1e12 * 1.01**i for i, unit in enumerate(("fp64", "fp32", "tf32", "fp16", "bf16", "fp8", "fp4", "int8"))}
    head = reported.header("h200")
    head = head.replace(hardware=head.hardware.replace(peak=peaks))
    figure = roofline(device(tmp_path, head, [reported.record(case("rms_norm", tokens=8, hidden=64), head)]))
    check_inside(figure)
    labels = gids(figure, "roof label")
    assert len(labels) == 8
    check_apart(figure, labels)


@pytest.mark.parametrize(
    ("changes", "differ"), [({"source": "earlier", "link_gpus": None}, False), ({"bandwidth": 4.7e12}, True)]
)
def test_roofs_differ_where_peaks_or_bandwidth_do(tmp_path: Path, changes: dict[str, Any], differ: bool) -> None:
    new = reported.header("h200", started="2026-11-02T01:00:00")
    old = reported.header("h200").replace(hardware=new.hardware.replace(**changes))
    runs = [(old, case("rms_norm", tokens=8, hidden=64)), (new, case("rms_norm", tokens=16, hidden=64))]
    paths = [reported.write(tmp_path / str(n), head, [reported.record(one, head)]) for n, (head, one) in enumerate(runs)]
    (found,) = collect(paths).devices
    assert ("the roofs differ from run to run" in said(roofline(found))) == differ


def test_a_sheet_of_ones_own_with_one_unit(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('title = "Mine"\nbandwidth = "100 GB/s"\nsource = "made up"\n[peak]\nfp32 = "2 TFLOP/s"\n')
    head = reported.header("h200").replace(hardware=load(path))
    figure = roofline(device(tmp_path / "runs", head, [reported.record(case("rms_norm", tokens=8, hidden=64), head, 0.5)]))
    axes = panel(figure, "roofline")
    assert points(axes, "ridge") == [pytest.approx((20.0, 2e12))]
    assert [text.get_text() for text in gids(figure, "roof label")] == ["fp32 2.00 TFLOP/s"]
    assert [axes.get_label() for axes in figure.axes] == ["roofline"], "no panel for what is not there"
    check_inside(figure)


# -- efficiency ---------------------------------------------------------------------------------------------------------------


def weighed(one: Case, importance: float | None) -> Case:
    return one.replace(importance=importance, provenance=one.provenance.replace(id=1))


@pytest.fixture(scope="module")
def providers(tmp_path_factory: pytest.TempPathFactory) -> Device:
    """Two operators with an importance and one without, by two providers."""
    head = reported.header("h200")
    norm = [weighed(case("rms_norm", tokens=n, hidden=4096), 0.4) for n in (1024, 2048, 4096)]
    gemm = weighed(case("matmul", m=4096, n=4096, k=4096), 0.1)
    bare = case("silu_and_mul", tokens=4096, hidden=4096)
    floor = {"notes": ("floor-bound: x",)}
    lines = [
        *(reported.record(one, head, share, "triton") for one, share in zip(norm, (0.2, 0.5, 0.9), strict=True)),
        *(reported.record(one, head, share, "torch", **floor) for one, share in zip(norm, (0.6, 0.1, 0.1), strict=True)),
        reported.record(gemm, head, 0.8),
        reported.record(bare, head, 0.3),
        reported.record(bare, head, 0.9, "torch", cold=False),
    ]
    return device(tmp_path_factory.mktemp("providers"), head, lines)


def test_efficiency_is_that_of_the_fastest_provider(providers: Device) -> None:
    gemm, norm, bare = by_operator(providers.latest)
    # Of 0.2 and 0.6, 0.5 and 0.1, 0.9 and 0.1 the faster each.
    assert norm.efficiencies == (0.5, 0.6, 0.9) and norm.median == 0.6 and norm.floor_bound == 1
    assert norm.providers == {"triton": 0.5, "torch": 0.1}
    assert (gemm.median, gemm.importance) == (0.8, 0.1)
    assert (bare.median, bare.importance, bare.providers) == (0.3, None, {"triton": 0.3})
    found = score(entries(one.measurement for one in providers.results), "published")
    assert {one.operator: one.median for one in found.operators} == {one.name: one.median for one in (norm, gemm)}


def test_bars_are_as_thick_as_the_operator_is_important(providers: Device) -> None:
    figure = efficiency(providers)
    axes = panel(figure, "efficiency")
    bars = artists(axes, "bar")
    gemm, norm, bare = bars
    assert [bar.get_width() for bar in bars] == [0.8, 0.6, 0.3]
    assert norm.get_height() == pytest.approx(4 * gemm.get_height())
    assert bare.get_height() < gemm.get_height()
    (hatched,) = artists(axes, "floor-bound")
    assert hatched.get_height() == pytest.approx(norm.get_height() / 3) and hatched.get_hatch()
    assert [text.get_text() for text in axes.get_yticklabels()] == ["matmul", "rms_norm", "silu_and_mul"]
    # Of torch the median of one operator, of triton those of all three.
    assert sorted(x for x, _ in points(axes, "provider")) == [0.1, 0.3, 0.5, 0.8]
    assert "1 of 3 operators have no importance" in said(figure) and "1 cases with a time do not count" in said(figure)
    check_inside(figure)


def test_forty_eight_operators_have_room(tmp_path: Path) -> None:
    head = reported.header("b200")
    first = {one.op.name: one for one in reported.bounded(head)}
    figure = efficiency(device(tmp_path, head, (reported.record(one, head) for one in first.values())))
    check_inside(figure)
    labels = panel(figure, "efficiency").get_yticklabels()
    assert len(labels) == len(first) > 40
    check_apart(figure, list(labels))


# -- sweeps -------------------------------------------------------------------------------------------------------------------


def swept(folder: Path, rows: Iterable[dict[str, Any]], operator: str = "theirs", providers: Iterable[str] = ("a",)) -> Device:
    """Cases of an operator that is not known here, each of 1 us per number in its dimensions."""
    head = reported.header("h200")
    work = Work(read=4800, written=0, flop={"bf16": 10})
    lines = [
        Measurement(
            case=Planned(operator=operator, dims=dims, label="x", where="a:1", provider=provider),
            status="passed",
            work=work,
            bound=bound(work, head.hardware),
            time=Estimate(median=2e-6, low=1.5e-6, high=3e-6, n=9, stopped_by="precise"),
            efficiency=0.5,
            cold=True,
        )
        for dims in rows
        for provider in providers
    ]
    return device(folder, head, lines)


def found_in(folder: Path, rows: Iterable[dict[str, Any]]) -> list[tuple[str, list[float]]]:
    made = sweeps(swept(folder, rows).latest)
    return [(one.dim, [value for value, _ in curve]) for one in made for curve in one.curves.values()]


def test_a_sweep_is_what_differs_in_one_number(tmp_path: Path) -> None:
    rows = [{"breadth": n, "kind": "x", "flag": True, "share": 0.5} for n in (4, 1, 16)]
    rows += [{"breadth": 4, "kind": "x", "flag": False, "share": 0.5}, {"breadth": 64, "kind": "y", "flag": True, "share": 0.5}]
    assert found_in(tmp_path, rows) == [("breadth", [1, 4, 16])]


def test_two_values_are_no_sweep(tmp_path: Path) -> None:
    assert found_in(tmp_path, [{"n": 1, "k": 1}, {"n": 2, "k": 1}, {"n": 3, "k": 2}]) == []
    assert found_in(tmp_path / "b", [{"flag": flag} for flag in (True, False)]) == []


def test_a_ragged_batch_is_swept_by_its_count_and_by_its_length(tmp_path: Path) -> None:
    batch = [{"q": [1] * n, "kv": [512] * n} for n in (1, 2, 8)]
    context = [{"q": [1, 1], "kv": [length] * 2} for length in (64, 128)]
    mixed = [{"q": [1, 1], "kv": [100, 300]}]
    assert sorted(found_in(tmp_path, [*batch, *context, *mixed])) == [("kv", [64, 128, 512]), ("sequences", [1, 2, 8])]


def test_equal_lengths_are_swept_together(tmp_path: Path) -> None:
    assert found_in(tmp_path, [{"q": [n], "kv": [n]} for n in (128, 256, 512)]) == [("q = kv", [128, 256, 512])]
    assert numbers({"q": [7, 7], "kv": [7], "s": [1, 2], "none": []}) == {
        "s": [1, 2],
        "none": [],
        "count of q": 2,
        "count of kv": 1,
        "q = kv": 7,
    }


def test_the_longest_sweeps_are_chosen_and_some_ragged_ones(tmp_path: Path) -> None:
    rows = [{"n": n, "k": k} for n in range(1, 9) for k in range(1, 6)]
    ragged = [{"kv": [64] * n} for n in (1, 2, 4)]
    found = sweeps([*swept(tmp_path, rows).latest, *swept(tmp_path / "b", ragged, "attention").latest])
    assert len(found) == 5 + 8 + 1
    kept = chosen(found, 3)
    assert [(one.operator, one.dim, one.points) for one in kept] == [
        *(("theirs", "n", 8), ("theirs", "n", 8), ("attention", "sequences", 3)),
    ]


def test_scaling_curves(tmp_path: Path) -> None:
    found = swept(tmp_path, [{"n": n, "held": HOSTILE} for n in (1, 2, 4, 4096)], f"op {HOSTILE}", ("a", HOSTILE))
    figure = scaling(found)
    check_inside(figure)
    axes = panel(figure, "sweep")
    assert axes.get_xlabel() == "n" and axes.get_xscale() == axes.get_yscale() == "log"
    # 4800 bytes at 4.8 TB/s
    assert points(axes, "T_SOL") == [pytest.approx((n, 1e-9)) for n in (1, 2, 4, 4096)]
    assert points(axes, "points") == [pytest.approx((n, 2e-6)) for n in (1, 2, 4, 4096)] * 2
    heights = [sorted({float(y) for _, y in path.vertices}) for one in artists(axes, "band") for path in one.get_paths()]
    assert heights == [pytest.approx([1.5e-6, 3e-6])] * 2
    assert scaling(swept(tmp_path / "b", [{"n": 1}, {"n": 2}])) is None


# -- history ------------------------------------------------------------------------------------------------------------------


def nights(folder: Path, shares: Iterable[float], **environment: Any) -> Device:
    """A run a day of two cases: one at these efficiencies, and one that never changes."""
    ones = [case("rms_norm", tokens=n, hidden=4096) for n in (1024, 2048)]
    for day, share in enumerate(shares, 1):
        head = reported.header("h200", started=f"2026-11-{day:02}T01:00:00", **environment)
        wobble = 1 + 0.001 * (day % 3)
        reported.write(folder, head, [reported.record(one, head, wobble * s) for one, s in zip(ones, (share, 0.5), strict=True)])
    (found,) = collect([folder]).devices
    return found


def test_the_history_of_what_stepped(tmp_path: Path) -> None:
    figure = history(nights(tmp_path, [0.6] * 6 + [0.5] * 6))
    check_inside(figure)
    (axes,) = figure.axes
    # 0.6 / 0.5 = 1.2
    assert [text.get_text() for text in axes.texts] == ["+20.0 %"]
    assert "1 of 2 cases have a step" in said(figure) and "12 runs, 2026-11-01" in said(figure)
    assert "from 12 run files, " in said(figure)


def test_of_what_stepped_the_largest_comes_first(tmp_path: Path) -> None:
    ones = [case("rms_norm", tokens=2048, hidden=4096), case("silu_and_mul", tokens=1024, hidden=4096)]
    for day in range(1, 13):
        head = reported.header("h200", started=f"2026-11-{day:02}T01:00:00")
        wobble, late = 1 + 0.001 * (day % 3), day > 6
        shares = (0.6 if late else 0.57, 0.4 if late else 0.7)
        reported.write(tmp_path, head, [reported.record(one, head, wobble * s) for one, s in zip(ones, shares, strict=True)])
    (device,) = collect([tmp_path]).devices
    first, second = history(device).axes
    # T goes with 1 / efficiency: 0.7 / 0.4 and 0.57 / 0.6.
    assert [text.get_text() for axes in (first, second) for text in axes.texts] == ["+75.0 %", "-5.0 %"]
    assert first.get_position().y0 > second.get_position().y0


def test_of_one_run_neither_history_nor_comparison_is_missing(tmp_path: Path) -> None:
    drawn = draw(
        collect([reported.run_of(tmp_path, reported.header(), [case("rms_norm", tokens=1024, hidden=4096)])]), tmp_path / "o"
    )
    assert [picture.kind for picture in drawn.pictures] == ["roofline", "efficiency"]
    assert drawn.left_out == ("no scaling on h200: no operator has three cases that differ in one number alone",)


def test_without_a_step_or_with_few_runs_there_is_no_history(tmp_path: Path) -> None:
    assert history(nights(tmp_path / "flat", [0.5] * 6)) is None
    drawn = draw(collect([tmp_path / "flat"]), tmp_path / "out")
    assert "no history on h200: no case has a step over 6 runs" in drawn.left_out
    nights(tmp_path / "two", [0.5, 0.2])
    assert (
        "no history on h200: it takes 3 dated runs, and there are 2" in draw(collect([tmp_path / "two"]), tmp_path / "o").left_out
    )


# -- comparison ---------------------------------------------------------------------------------------------------------------


def pair(folder: Path, count: int, other: str = "triton") -> Device:
    """Two runs of one operator: case n takes 2, 1.01 or 1/4 of the time in the second, within +-2 %."""
    ones = [case("rms_norm", tokens=n, hidden=4096) for n in range(1, count + 1)]
    first, second = (reported.header("h200", started=f"2026-11-0{day}T01:00:00", driver=f"58{day}") for day in (1, 2))
    reported.write(folder, first, [reported.record(one, first, 0.2) for one in ones])
    factors = [(2.0, 1.01, 0.25)[i % 3] for i in range(count)]
    rows = [reported.record(one, second, 0.2 / factor, other) for one, factor in zip(ones, factors, strict=True)]
    reported.write(folder, second, rows)
    (found,) = collect([folder]).devices
    return found


def compared(found: Device, title: str = "Two runs") -> Any:
    sides = last_two(found)
    assert sides is not None
    return comparison(title, *sides)


def test_cases_are_sorted_by_how_much_slower_they_are(tmp_path: Path) -> None:
    figure = compared(pair(tmp_path, 4))
    check_inside(figure)
    axes = panel(figure, "cases")
    marks = artists(axes, "ratio")
    assert [line.get_xdata()[0] for line in marks] == pytest.approx([2.0, 2.0, 1.01, 0.25])
    # Where the intervals meet, it is hollow.
    assert [line.get_markerfacecolor() == "white" for line in marks] == [False, False, True, False]
    spans = [sorted(line.get_xdata()) for line in artists(axes, "interval")]
    assert spans[0] == pytest.approx([2 * 0.98 / 1.02, 2 * 1.02 / 0.98])
    assert axes.get_xscale() == "log"
    text = said(figure)
    assert "the second is faster" in text and "slower" in text
    assert "clearly slower: 2, clearly faster: 1" in text and "median ratio" in text
    assert "Other things than the code differ: driver 581 -> 582." in text
    assert "fastest provider" not in text
    assert [axes.get_label() for axes in figure.axes] == ["cases"]


def test_of_many_cases_both_ends_and_all_ratios(tmp_path: Path) -> None:
    figure = compared(pair(tmp_path, 60, "torch"))
    check_inside(figure)
    assert len(artists(panel(figure, "cases"), "ratio")) == 40
    check_apart(figure, list(panel(figure, "cases").get_yticklabels()))
    (line,) = artists(panel(figure, "all"), "all ratios")
    assert len(line.get_xdata()) == 60 and line.get_ydata()[-1] == 1.0
    text = said(figure)
    assert "20 cases in between" in text and "compared by its fastest provider on each side" in text
    assert "triton / torch" in text


def test_the_newest_earlier_run_with_a_case_in_common(tmp_path: Path) -> None:
    ones = [case("rms_norm", tokens=n, hidden=64) for n in (1, 2)]
    for day, which in ((1, 0), (2, 0), (3, 1), (4, 0)):
        head = reported.header("h200", started=f"2026-11-0{day}T01:00:00")
        reported.write(tmp_path, head, [reported.record(ones[which], head)])
    (found,) = collect([tmp_path]).devices
    sides = last_two(found)
    assert sides is not None
    assert [side.name[:8] for side in sides[:2]] == ["20261102", "20261104"]
    assert last_two(found.replace(sources=found.sources[1:3])) is None
    assert last_two(found.replace(sources=found.sources[:1])) is None


def test_devices_without_a_common_case(tmp_path: Path) -> None:
    for hw, tokens in (("h200", 1), ("b200", 2)):
        head = reported.header(hw)
        reported.write(tmp_path, head, [reported.record(case("rms_norm", tokens=tokens, hidden=64), head)])
    first, second = collect([tmp_path]).devices
    assert comparison("x", of_device(first), of_device(second), compare(first.latest, second.latest)) is None


# -- all of it ----------------------------------------------------------------------------------------------------------------


def odd(folder: Path) -> Collection:
    """Two runs on a device, with text that breaks what takes it for more than text."""
    names = [case("rms_norm", tokens=n, hidden=64) for n in (1, 2, 4, 8)] + [
        case("moe_align_block_size", tokens=8, experts=8, top_k=2)
    ]
    for day in (1, 2):
        head = reported.header("h200", started=f"2026-11-0{day}T01:00:00", gpu=HOSTILE, driver="5$_^{")
        head = head.replace(hardware=head.hardware.replace(name="h$2_0", source=HOSTILE))
        lines = [reported.record(one, head, 0.3 + 0.1 * day, f"{HOSTILE}{i}") for one in names for i in range(10)]
        bad = {"operator": f"$o_{HOSTILE}", "category": f"$c_{HOSTILE}", "label": f"l{HOSTILE}"}
        lines = [
            line.replace(case=msg.replace(**(bad if i % 2 else {"label": bad["label"]})))
            for i, line in enumerate(lines)
            for msg in [line.case]
        ]
        reported.write(folder, head, lines)
    return collect([folder])


@pytest.fixture(scope="module")
def drawn_odd(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("odd")
    return draw(odd(folder / "runs"), folder / "out")


def test_text_is_only_text(drawn_odd: Any) -> None:
    assert [one.kind for one in drawn_odd.pictures] == ["roofline", "efficiency", "scaling", "runs"]
    assert [path.name for path in drawn_odd.paths][:2] == ["roofline-h_2_0.png", "roofline-h_2_0.svg"]


@pytest.mark.parametrize("make", [roofline, efficiency, scaling, compared])
def test_text_that_is_too_long_stays_on_the_page(make: Callable[[Device], Any], tmp_path: Path) -> None:
    (found,) = odd(tmp_path).devices
    check_inside(make(found))


def test_files_are_what_they_say(drawn_odd: Any) -> None:
    for path in drawn_odd.paths:
        if path.suffix == ".svg":
            text = "".join(ElementTree.parse(path).getroot().itertext())
            assert "WWW" in text and "$x_1$" in text
        else:
            content = path.read_bytes()
            assert content.startswith(b"\x89PNG")
            # Pixels per metre: at least 150 per inch.
            place = content.index(b"pHYs") + 4
            assert struct.unpack(">I", content[place : place + 4])[0] >= 150 / 0.0254 - 1


def test_labels_are_text_in_an_svg(h200: Device, tmp_path: Path) -> None:
    png, svg = save(roofline(h200), tmp_path / "new", "a")
    assert (png.name, svg.name) == ("a.png", "a.svg")
    text = "".join(ElementTree.parse(svg).getroot().itertext())
    for label in ("fp8, int8 1979 TFLOP/s", "206 FLOP/B", "memory 4.80 TB/s", "routing (1)", "arithmetic intensity, FLOP/B"):
        assert label in " ".join(text.split()), label
    again = save(roofline(h200), tmp_path / "new", "b")[1]
    assert svg.read_bytes() == again.read_bytes()


def test_a_users_own_style_changes_nothing(h200: Device) -> None:
    import matplotlib as mpl

    with mpl.rc_context({"font.size": 40, "lines.linewidth": 9, "axes.spines.top": True, "text.usetex": True}):
        figure = roofline(h200)
    assert not panel(figure, "roofline").spines["top"].get_visible()
    check_inside(figure)


def test_the_published_times(tmp_path: Path) -> None:
    (found,) = collect([reported.published(tmp_path)]).devices
    figure = roofline(found)
    check_inside(figure)
    count = len(points(panel(figure, "roofline"), "cases")) + len(points(panel(figure, "without FLOP"), "cases"))
    assert count == 440
    assert "single time has no interval: all." in said(figure) and "times measured elsewhere: the published shapes" in said(
        figure
    )


def test_a_device_without_a_time_has_no_picture(tmp_path: Path) -> None:
    head = reported.header("h200")
    found = collect(
        [reported.write(tmp_path, head, [reported.record(case("rms_norm", tokens=8, hidden=64), head, None, status="skipped")])]
    )
    drawn = draw(found, tmp_path / "out")
    assert drawn.pictures == () and not (tmp_path / "out").exists()
    assert drawn.left_out[:2] == (
        "no roofline of h200: no case of it has a time",
        "no efficiency by operator on h200: no case of it counts",
    )


@pytest.mark.parametrize("seconds", [0.0, -1.0])
def test_an_impossible_time_is_no_point(seconds: float, tmp_path: Path) -> None:
    head = reported.header("h200")
    one = reported.record(case("rms_norm", tokens=8, hidden=64), head)
    wrong = Measurement(
        case=planned(case("rms_norm", tokens=9, hidden=64), "triton"),
        status="passed",
        work=one.work,
        bound=one.bound,
        time=Estimate(median=seconds, low=seconds, high=seconds, n=3, stopped_by="x"),
    )
    found = device(tmp_path, head, [one, wrong])
    figure = roofline(found)
    assert len(points(panel(figure, "roofline"), "cases")) == 1 and "1 more have no time" in said(figure)
    check_inside(figure)


def test_devices_are_never_mixed(tmp_path: Path) -> None:
    for hw in ("h200", "b200"):
        head = reported.header(hw)
        reported.write(tmp_path, head, [reported.record(case("rms_norm", tokens=8, hidden=64), head)])
    drawn = draw(collect([tmp_path]), tmp_path / "out")
    assert [(one.kind, one.devices) for one in drawn.pictures] == [
        *(("roofline", ("b200",)), ("efficiency", ("b200",)), ("roofline", ("h200",)), ("efficiency", ("h200",))),
        ("devices", ("b200", "h200")),
    ]


def test_what_cannot_be_written_is_one_sentence(h200: Device, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Mistake, match=r"pictures: cannot write .*file/a\.png: (File exists|Not a directory)"):
        save(roofline(h200), tmp_path / "file", "a")


def test_pictures_load_no_pyplot(h200: Device) -> None:
    roofline(h200)
    assert "matplotlib.pyplot" not in sys.modules


def test_ticks_have_our_units(h200: Device) -> None:
    figure = roofline(h200)
    axes = panel(figure, "roofline")
    labels = [text.get_text() for text in axes.get_yticklabels()]
    assert "100 TFLOP/s" in labels and "1 TFLOP/s" in labels
    assert all(math.log10(tick) == pytest.approx(round(math.log10(tick))) for tick in axes.get_yticks())
