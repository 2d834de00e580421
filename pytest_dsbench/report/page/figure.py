"""The roofline as Bokeh draws it: axes, and empty sets of roofs and points, which the script of the page fills by device."""

import json
import re
from collections.abc import Sequence
from itertools import cycle
from typing import Any

from ...operator import CATEGORIES

#: How each category looks on a light and on a dark page: the hues of the pictures (Okabe and Ito's) adapted to each ground, and
#: their shapes as far as Bokeh has them: no category is known by its colour alone.
_LOOKS = dict(
    zip(
        CATEGORIES,
        (
            *(("#0072B2", "#4FB0E8", "circle"), ("#2A9BD6", "#9AD8F7", "square"), ("#D55E00", "#FF8A4C", "triangle")),
            *(("#B87800", "#F5B942", "diamond"), ("#AA4499", "#E79AC6", "inverted_triangle"), ("#009E73", "#2FC79B", "plus")),
            *(("#333333", "#E5E7EB", "x"), ("#8C8200", "#E8E05A", "hex"), ("#4F7A28", "#A6D673", "star")),
            *(("#666666", "#B8B8B8", "cross"), ("#882255", "#F07FA8", "asterisk"), ("#332288", "#A79BFF", "circle_x")),
        ),
        strict=True,
    )
)
#: Those of a user's own categories, in turn.
_OWN = (("#0072B2", "#4FB0E8", "square_x"), ("#D55E00", "#FF8A4C", "circle_cross"), ("#AA4499", "#E79AC6", "diamond_cross"))
#: What a point says when it is pointed at: Bokeh escapes the fields.
_TIPS = """<div style="max-width: min(440px, 80vw); padding: 1px 4px 5px; line-height: 1.4; overflow-wrap: anywhere">
<div style="font-weight: 650">@name</div>
<div>@provider</div>
<div>T @time</div>
<div>T_SOL @t_sol</div>
<div>efficiency @efficiency</div>
<div>@rate</div>
</div>"""
_FIELDS = ("x", "y", "name", "time", "t_sol", "efficiency", "provider", "rate", "mark", "colour", "record")


def library() -> str:
    """The script of Bokeh, of the version that is installed."""
    from bokeh.resources import Resources

    return "\n".join(Resources(mode="inline", components=["bokeh"], log_level="error").js_raw).replace("\r\n", "\n")


def figures(categories: Sequence[str]) -> dict[str, Any]:
    """The roofline, and the strip for what computes nothing, as documents of Bokeh; and how each category looks."""
    own = cycle(_OWN)
    looks = [dict(zip(("light", "dark", "mark"), _LOOKS.get(name) or next(own), strict=True)) for name in categories]
    return {"looks": looks, "roofline": _document(_roofline()), "strip": _document(_strip())}


def _document(plot: Any) -> Any:
    """A plot as JSON, numbered from 1: Bokeh counts all plots of a process, and the same runs must make the same page."""
    from bokeh.embed import json_item

    numbers: dict[str, str] = {}
    text = json.dumps(json_item(plot)["doc"])
    return json.loads(re.sub(r'"p\d+"', lambda found: numbers.setdefault(found[0], f'"p{len(numbers) + 1}"'), text))


def _roofline() -> Any:
    from bokeh.models import ColumnDataSource

    plot = _figure("roofline", 480, "log")
    roofs = ColumnDataSource({"xs": [], "ys": []}, name="roofs")
    plot.multi_line("xs", "ys", source=roofs, line_width=1.6, name="roof lines")
    labels = ColumnDataSource({"x": [], "y": [], "text": [], "align": [], "dx": []}, name="roof labels")
    look = {"text_font_size": "12px", "text_baseline": "bottom", "text_font": {"value": "system-ui, sans-serif"}}
    ridges = ColumnDataSource({"x": [], "y": []}, name="ridges")
    plot.scatter("x", "y", source=ridges, size=9, marker="circle", line_width=2, name="ridge points")
    _points(plot, "point")
    plot.text("x", "y", "text", source=labels, text_align="align", x_offset="dx", y_offset=-1, name="roof texts", **look)
    plot.xaxis.axis_label = "arithmetic intensity, FLOP per byte"
    plot.yaxis.axis_label = "FLOP/s"
    plot.xaxis.major_label_overrides = {10.0**power: _plain(power) for power in range(-6, 10)}
    plot.yaxis.major_label_overrides = _rates()
    return plot


def _strip() -> Any:
    """Cases without FLOP by their bandwidth, as wide as the roofline, a line of points for each category."""
    from bokeh.models import ColumnDataSource, FixedTicker

    plot = _figure("strip", 150, "linear")
    roof = ColumnDataSource({"x": [], "y0": [], "y1": []}, name="strip roof")
    plot.segment("x", "y0", "x", "y1", source=roof, line_width=2, name="strip roof line")
    _points(plot, "strip")
    plot.xaxis.axis_label = "bytes per second; the line: data sheet"
    plot.xaxis.ticker = FixedTicker(ticks=[], name="strip ticks")
    plot.xaxis.major_label_overrides = _rates()
    plot.toolbar_location = None
    plot.yaxis.visible = False
    plot.ygrid.visible = False
    return plot


def _figure(name: str, height: int, y_axis: Any) -> Any:
    from bokeh.models import Range1d
    from bokeh.plotting import figure

    plot = figure(
        name=name,
        height=height,
        sizing_mode="stretch_width",
        x_axis_type="log",
        y_axis_type=y_axis,
        x_range=Range1d(start=0.1, end=1000),
        y_range=Range1d(start=1, end=10),
        tools="pan,box_zoom,wheel_zoom,reset,save",
        active_drag="box_zoom",
        toolbar_location="above",
        min_border_right=12,
    )
    plot.toolbar.logo = None
    plot.grid.grid_line_width = 1
    plot.axis.minor_tick_line_color = None
    plot.axis.axis_label_text_font_style = "normal"
    plot.axis.major_label_text_font_size = plot.axis.axis_label_text_font_size = "12px"
    return plot


def _points(plot: Any, name: str) -> None:
    """All points in one renderer, so that what lies on top of each other is told in one box; and what is told."""
    from bokeh.models import ColumnDataSource, HoverTool, TapTool

    source = ColumnDataSource({field: [] for field in _FIELDS}, name=f"{name} source")
    drawn = plot.scatter("x", "y", source=source, marker="mark", color="colour", size=7, fill_alpha=0.55, line_width=1)
    drawn.nonselection_glyph = drawn.muted_glyph = None
    hover = HoverTool(renderers=[drawn], tooltips=_TIPS, limit=4, visible=False)
    plot.add_tools(hover, TapTool(renderers=[drawn], visible=False))


def _plain(power: int) -> str:
    return f"{10**power:,}" if power >= 0 else f"{10.0**power:.{-power}f}"


def _rates() -> dict[float, str]:
    """Names of ticks from one to 9 P."""
    prefixes = ("", " k", " M", " G", " T", " P")
    return {float(n * 10**power): f"{n * 10 ** (power % 3)}{prefixes[power // 3]}" for power in range(18) for n in range(1, 10)}
