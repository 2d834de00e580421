"""The picture of a schedule: which bars stand where, what they say, and that no word leaves its place. No pixel is compared."""

from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

pytest.importorskip("matplotlib")

from test_explain import BF16, CASES, given
from test_plots import artists, boxes, check_apart, check_inside, gids, panel, said

from pytest_dsbench.mistake import Mistake
from pytest_dsbench.report.plots.timeline import draw, timeline
from pytest_dsbench.report.serving.period import period
from pytest_dsbench.serving.estimate import Estimate, estimate
from pytest_dsbench.serving.precision import named as precision_named
from pytest_dsbench.serving.price.assumed import defaults
from pytest_dsbench.units import quantity, show_seconds

FOUND = {
    name: estimate(one, defaults())
    for name, one in {
        **CASES,
        "many": given(batch=1024),
        "few": given(batch=2, context=128),
        "half precision": given("qwen3_30b_a3b", ep=8, batch=16, tp=2, precision=BF16),
        "fp4": given(gpu="gb200", ep=32, batch=200, precision=precision_named("fp4", "fp8")),
    }.items()
}
every = pytest.mark.parametrize("found", FOUND.values(), ids=list(FOUND))


def bars(figure: Any, gid: str) -> list[tuple[float, float, float]]:
    """Start and length in microseconds and the row of the bars of that name."""
    found = artists(panel(figure, "timeline"), gid)
    return [(one.get_x(), one.get_width(), one.get_y()) for one in found if hasattr(one, "get_width")]


@every
def test_every_part_of_every_micro_batch_is_a_bar(found: Estimate) -> None:
    figure = timeline(found)
    shown = period(found)
    for row, spans in enumerate(shown.lanes.values()):
        for span in spans:
            ((start, length, y),) = bars(figure, f"{span.part} {span.micro}")
            assert (start, length) == (pytest.approx(span.start * 1e6), pytest.approx(span.seconds * 1e6))
            assert row < y < row + 1
    section = shown.section
    assert section.kind == ("moe" if found.configuration.model.moe else "dense")
    assert panel(figure, "timeline").get_xlim() == (0.0, pytest.approx(section.seconds * 1e6))
    assert show_seconds(section.seconds) in said(figure)


@every
def test_bars_and_gaps_fill_each_lane(found: Estimate) -> None:
    figure, shown = timeline(found), period(found)
    gaps = bars(figure, "idle")
    for row, (lane, spans) in enumerate(shown.lanes.items()):
        mine = [(start, length) for start, length, y in gaps if row < y < row + 1]
        every = sorted([*mine, *((span.start * 1e6, span.seconds * 1e6) for span in spans)])
        end = shown.seconds * 1e6
        assert every[0][0] == 0.0 and sum(every[-1]) == pytest.approx(end)
        for first, second in pairwise(every):
            assert sum(first) == pytest.approx(second[0], abs=1e-6 * end)
        assert sum(length for _, length in mine) / end == pytest.approx(shown.idle(lane), abs=1e-9)
    assert len(gids(figure, "share")) == len(shown.lanes)


def test_gaps_by_hand() -> None:
    # A dual layer waits for the network while it dispatches, and the network waits while experts work.
    found = FOUND["network bound"]
    parts = next(one.parts for one in found.sections if one.kind == "moe")
    assert parts is not None
    front = parts.shared + parts.attention_in
    back = parts.attention_out + parts.router
    idle = 2 * (parts.dispatch - front + parts.combine - back)
    total = 2 * (parts.dispatch + parts.experts + parts.combine)
    assert period(found).idle("kernels") == pytest.approx(idle / total)
    assert period(found).idle("network") == pytest.approx(2 * parts.experts / total)
    windows = [parts.dispatch, parts.experts, parts.combine] * 2
    assert list(period(found).ends) == pytest.approx([sum(windows[: number + 1]) for number in range(6)])


@every
def test_micro_batches_survive_grey_print(found: Estimate) -> None:
    axes = panel(timeline(found), "timeline")
    for span in (span for spans in period(found).lanes.values() for span in spans):
        (bar,) = (one for one in artists(axes, f"{span.part} {span.micro}") if hasattr(one, "get_hatch"))
        assert bool(bar.get_hatch()) == bool(span.micro)


@every
def test_thick_frames_are_what_the_layer_takes(found: Estimate) -> None:
    axes, shown = panel(timeline(found), "timeline"), period(found)
    thick = 0.0
    for span in (span for spans in shown.lanes.values() for span in spans):
        (bar,) = artists(axes, f"{span.part} {span.micro}")
        thick += span.seconds if bar.get_linewidth() > 1 else 0.0
    assert thick == pytest.approx(shown.seconds, rel=1e-9)


@every
def test_no_word_leaves_its_bar(found: Estimate) -> None:
    figure = timeline(found)
    check_inside(figure)
    axes = panel(figure, "timeline")
    texts = artists(axes, "label") + artists(axes, "idle label") + artists(axes, "window time")
    check_apart(figure, texts)
    frames = [one for one in axes.patches if one.get_gid()]
    for text, box in zip(texts, boxes(figure, texts), strict=True):
        if text.get_gid() == "window time":
            continue
        middle = text.get_position()
        (frame,) = (
            one
            for one in frames
            if one.get_x() < middle[0] < one.get_x() + one.get_width() and one.get_y() < middle[1] < one.get_y() + 1
        )
        around = frame.get_window_extent()
        assert around.x0 <= box.x0 and box.x1 <= around.x1 and around.y0 <= box.y0 and box.y1 <= around.y1, text.get_text()


@every
def test_every_time_is_written_somewhere(found: Estimate) -> None:
    figure = timeline(found)
    for span in (span for spans in period(found).lanes.values() for span in spans):
        assert show_seconds(span.seconds) in said(figure), span.part


def test_strokes_part_the_kernels() -> None:
    figure, found = timeline(FOUND["naive"]), FOUND["naive"]
    strokes = sorted(float(line.get_xdata()[0]) for line in artists(panel(figure, "timeline"), "kernel"))
    terms = [term for term in next(one for one in found.sections if one.kind == "moe").terms if term.part == "attention_in"]
    ends = [sum(term.seconds for term in terms[: number + 1]) * 1e6 for number in range(len(terms) - 1)]
    assert strokes[: len(ends)] == pytest.approx(ends)


def test_windows_are_parted_and_timed() -> None:
    found = FOUND["dual"]
    axes, ends = panel(timeline(found), "timeline"), period(found).ends
    assert [float(line.get_xdata()[0]) for line in artists(axes, "window")] == pytest.approx([end * 1e6 for end in ends[:-1]])
    times = [quantity(text.get_text(), "s") for text in artists(axes, "window time")]
    assert len(times) == 6 and sum(times) == pytest.approx(ends[-1], rel=0.01)


def test_a_network_without_work_is_no_lane() -> None:
    text = said(timeline(FOUND["one GPU"]))
    assert "The network carries nothing" in text
    assert len(gids(timeline(FOUND["one GPU"]), "lane")) == 1 and len(gids(timeline(FOUND["dual"]), "lane")) == 2


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_it_is_written(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    draw(FOUND["dual"], path)
    if suffix == ".png":
        assert path.read_bytes().startswith(b"\x89PNG")
    else:
        assert "attention out B" in " ".join(ElementTree.parse(path).getroot().itertext())
    first = path.read_bytes()
    draw(FOUND["dual"], path)
    assert path.read_bytes() == first


def test_other_paths_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Mistake, match=r"--timeline: .*a\.pdf is not \.png or \.svg"):
        draw(FOUND["dual"], tmp_path / "a.pdf")
    with pytest.raises(Mistake, match=r"--timeline: cannot write .*No such file"):
        draw(FOUND["dual"], tmp_path / "none" / "a.png")
