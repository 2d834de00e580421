"""Whether a time of tonight can be held against an entry at all: the same environment, and a machine that did not move."""

from math import exp, log, log1p
from statistics import median

from ..environment import Environment, differences
from ..stats import mad_scale
from ..thresholds import Thresholds
from .baseline import Entry, Night
from .nights import Tonight

#: An anchor that wobbled by this many scales in the accepted nights says nothing new.
_WOBBLE = 4.0


def unfit(found: Tonight, entry: Entry, then: Environment | None, now: Environment, limits: Thresholds) -> str | None:
    """Why not, or None. `then` is the environment of the entry where it is known, `now` that of tonight."""
    return _incomparable(found, entry, then, now) or _anchor_moved(aligned(found, entry), entry, limits)


def _incomparable(found: Tonight, entry: Entry, then: Environment | None, now: Environment) -> str | None:
    """Why times of tonight cannot be held against those of the entry."""
    if found.key != entry.key:
        what = ", ".join(differences(then, now)) if then else ""
        return f"the baseline is of another environment: {what or f'key {entry.key}, here {found.key}'}"
    for word, there, here in (
        ("timed by", entry.mode, found.mode),
        ("cold caches", entry.cold, found.cold),
        ("timing protocol", entry.protocol, found.protocol),
    ):
        if there != here:
            return f"{word} {here} here, {there} in the baseline"
    return None


def _anchor_moved(night: Night, entry: Entry, limits: Thresholds) -> str | None:
    """Says that the machine moved where its anchor did, by more than it does from night to night."""
    kinds = {one.anchors.compute_kind for one in entry.window}
    if entry.by == "compute" and night.anchors.compute_kind not in kinds:
        return f"the compute anchor is {night.anchors.compute_kind} here, {' or '.join(sorted(kinds))} in the baseline"
    if len(entry.window) < limits.learn:
        return None
    usual = [log(one.anchor) for one in entry.window]
    change = log(night.anchor) - median(usual)
    if abs(change) <= max(log1p(limits.anchor), _WOBBLE * mad_scale(usual)):
        return None
    return f"the {entry.by} anchor takes {show_change(change)} than in the baseline: the machine moved, not the code"


def aligned(found: Tonight, entry: Entry) -> Night:
    """Tonight's night with the anchor that the entry goes by: of a case at the ridge, the bound may change sides."""
    assert found.night is not None
    return found.night if found.by == entry.by else found.night.replace(anchor=found.night.anchors.of(entry.by))


def show_change(change: float) -> str:
    """A difference of ln T in words: "6.2 % longer"."""
    return f"{100 * abs(exp(change) - 1):.1f} % {'longer' if change > 0 else 'less'}"
