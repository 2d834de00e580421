"""A layer profile as text: rows by group, sums against what was published, and devices side by side."""

from collections.abc import Iterator, Mapping, Sequence

from ..hardware.sheet import Hardware
from ..profile.compare import Comparison, Foreign, Pair
from ..profile.lights import Lights
from ..profile.record import Device, Profile, Row
from ..profile.sums import Explained, Hidden, Sum, explained, group_sum, hidden, layer_sum
from ..profile.times import microseconds
from ..units import show_share
from .bounds import headline
from .profile_bounds import shown_most
from .table import table

#: Rows without a time that are named beside a sum; where there are more, the table shows them.
_NAMED = 8


def head_lines(profile: Profile, sheets: Mapping[str, Hardware]) -> Iterator[str]:
    """What was profiled, where the numbers come from, and on what."""
    yield profile.title or profile.profile
    if profile.source:
        yield f"source: {profile.source}"
    for device in profile.devices:
        sheet = sheets.get(device.name)
        known = (
            headline(sheet) if sheet else f"no data sheet, so that nothing is held against it; --hw {device.name}=NAME names one"
        )
        name = "" if sheet and sheet.name == device.name else f"{device.name}{f' ({device.title})' if device.title else ''}: "
        yield f"{name}{known}{f'; {device.note}' if device.note else ''}"


def row_lines(profile: Profile) -> Iterator[str]:
    """The rows of one layer by group, each group with its sum."""
    names = [device.name for device in profile.devices]
    sums = {name: layer_sum(profile, name).seconds for name in names}
    head = ["", "module", "kernel", *names, "share", *(f"{name} / {names[0]}" for name in names[1:])]
    rows = [_cells(row, names, sums[names[0]]) for row in profile.rows]
    first, *lines = table(head, rows, left=3)
    by_row = dict(zip(map(id, profile.rows), lines, strict=True))
    share = f"share: of the {profile.covers}'s sum on {names[0]}"
    yield f"one {profile.covers}; {share}; - is no published time, which is not a time of zero{_bracketed(profile)}"
    yield first
    for group in profile.groups():
        yield group
        yield from (by_row[id(row)] for row in profile.of(group))
        for name in names:
            yield from _sum_line(profile, group, name, sums[name] if name == names[0] else None)


def _bracketed(profile: Profile) -> str:
    return "; (in brackets) is hidden behind another row and not added" if any(row.hidden_by for row in profile.rows) else ""


def _cells(row: Row, names: Sequence[str], layer: float) -> list[str]:
    def bracketed(text: str) -> str:
        return f"({text})" if row.hidden_by and text != "-" else text

    first = row.seconds.get(names[0])
    times = [bracketed(microseconds(row.seconds[name])) if name in row.seconds else "-" for name in names]
    share = show_share(first / layer) if first is not None and row.hidden_by is None else "-"
    ratios = [ratio(row.seconds[name] / first) if first and name in row.seconds else "-" for name in names[1:]]
    return ["", row.module or "-", row.kernel or "-", *times, share, *ratios]


def ratio(value: float) -> str:
    """A ratio for people: 2.41x."""
    return f"{value:.2f}x" if value >= 0.1 else f"{value:.2g}x"


def _sum_line(profile: Profile, group: str, device: str, layer: float | None) -> Iterator[str]:
    """The sum of a group on a device, and whether the published one follows; nothing where the device has no time in it."""
    found = group_sum(profile, group, device)
    on = f" on {device}" if len(profile.devices) > 1 else ""
    if not found.timed:
        if found.stated:
            yield f"  sum{on}: published {microseconds(found.stated.seconds)}, and no row has a time"
        return
    counted = any(row.hidden_by is None for row in profile.of(group))
    # Only the reference has a share: where other rows have no time on a device, its groups have none that means anything.
    share = f", {show_share(found.seconds / layer)} of the {profile.covers}" if layer else ""
    share = share if counted else ", hidden: in no sum"
    yield f"  sum{on}: {_at_least(found)}{share}; {_verdict(found)}"


def _at_least(found: Sum) -> str:
    """A sum; a lower bound where rows have no time."""
    rows = found.timed + len(found.untimed)
    if not found.untimed:
        return microseconds(found.seconds)
    return f"more than {microseconds(found.seconds)} ({found.timed} of {rows} rows have a time)"


def _verdict(found: Sum) -> str:
    if found.stated is None:
        return "no sum was published"
    published = f"published {microseconds(found.stated.seconds)}"
    off = f"{microseconds(abs(found.off))} ({show_share(abs(found.off) / found.stated.seconds)})"
    return {
        "follows": f"{published}: follows from the rows",
        "rounding": f"{published}: follows from the rows within their rounding",
        "open": f"{published}: {off} more than the rows that have a time; those without could hold it",
        "contradiction": f"{published}: does not follow, the rows make {off} {'less' if found.off > 0 else 'more'}",
    }[found.verdict]


def total_lines(profile: Profile) -> Iterator[str]:
    """Sums of the layer, of all layers, and of the step, device by device."""
    for device in profile.devices:
        layer = layer_sum(profile, device.name)
        if not layer.timed:
            yield f"{device.name}: no row that counts has a time"
            continue
        names = ", ".join(dict.fromkeys(row.label for row in layer.untimed))
        untimed = f"; without a time: {names}" if 0 < len(layer.untimed) <= _NAMED else ""
        published = f"; {_verdict(layer)}" if layer.stated else ""
        yield f"{profile.covers} on {device.name}: {_at_least(layer)}{published}{untimed}"
        yield from (_hidden(one) for one in hidden(profile, device.name) if one.rows.timed)
        found = explained(profile, device.name)
        yield from _explained(profile, found) if found else ()
        yield from _step(profile, device, found)


def _hidden(one: Hidden) -> str:
    count = len(one.rows.untimed) + one.rows.timed
    rows = f"  {count} {'rows are' if count > 1 else 'row is'} hidden behind {one.module}"
    took = f"{'more than ' if one.rows.untimed else ''}{microseconds(one.rows.seconds)}"
    if one.fits is None:
        return f"{rows}: {took}, not added; {one.module} has no time, so that nothing says whether they fit"
    if one.fits:
        return f"{rows}: {took}, not added; they fit into its {microseconds(one.behind.seconds)}"
    over = microseconds(one.rows.seconds - one.behind.seconds)
    return f"{rows}: {took}, not added; but {over} of them do not fit into its {microseconds(one.behind.seconds)}"


def _explained(profile: Profile, found: Explained) -> Iterator[str]:
    """Layers times the sum of one, against the published time of all."""
    least = "at least " if found.layer.untimed else ""
    share = f"{show_share(found.share)} {'explained' if found.left >= 0 else 'of it'}"
    yield (
        f"  {found.count} x {microseconds(found.layer.seconds)} = {_milliseconds(found.seconds)} of the published"
        f" {_milliseconds(found.stated.seconds)} of {found.count} layers: {least}{share}"
    )
    if found.left < 0:
        yield f"  the rows make {_milliseconds(-found.left)} more than was published: rows overlap, or layers differ"
        return
    left = f"{_milliseconds(found.left)} ({show_share(1 - found.share)}), {microseconds(found.left / found.count)} per layer"
    untimed = "rows without a time, " if found.layer.untimed else ""
    yield f"  not explained: {left}: {untimed}kernels that are not listed, gaps between them, waiting"
    if profile.alike is not None and profile.alike != found.count:
        seconds = profile.alike * found.layer.seconds
        yield (
            f"  {profile.alike} of the {found.count} layers are of this kind: {_milliseconds(seconds)},"
            f" {show_share(seconds / found.stated.seconds)}; what the other {found.count - profile.alike} take is not in the rows"
        )


def _step(profile: Profile, device: Device, found: Explained | None) -> Iterator[str]:
    step = profile.stated_of("step", device.name)
    if step is None or profile.covers == "step":
        return
    if found is None:
        yield f"  published step: {_milliseconds(step.seconds)}; no time of its layers was published"
        return
    layers, outside = found.stated.seconds, step.seconds - found.stated.seconds
    if outside < 0:
        yield f"  published step: {_milliseconds(step.seconds)}, less than its layers take: the two do not fit together"
        return
    yield (
        f"  published step: {_milliseconds(step.seconds)}; the layers are {show_share(layers / step.seconds)} of it,"
        f" {_milliseconds(outside)} ({show_share(outside / step.seconds)}) lie outside of them"
    )


def _milliseconds(seconds: float) -> str:
    """A time of layers or of a step: milliseconds as it is published, microseconds where that would be too coarse."""
    return f"{seconds * 1e3:,.2f} ms" if abs(seconds) >= 1e-3 else microseconds(seconds)


def comparison_lines(one: Comparison, sheets: Mapping[str, Hardware], light: Lights) -> Iterator[str]:
    """Two devices over their common rows, and what takes longer where it should not."""
    first, second = one.reference.name, one.other.name
    if not one.pairs:
        yield f"{second} and {first} have no row in common: nothing to compare"
        return
    count = len(one.pairs)
    yield (
        f"{second} / {first} over the {f'{count} rows' if count > 1 else 'one row'} that both have:"
        f" {microseconds(one.after)} / {microseconds(one.before)} = {ratio(one.after / one.before)}"
    )
    if one.faster is None:
        why = "by their sheets neither is the faster one" if {first, second} <= sheets.keys() else "one has no data sheet"
        yield f"  {why}: no row is called slower than it should be"
    slower = one.slower()
    for pair in one.pairs:
        yield from _pair(pair, one, pair in slower)
        if pair in slower:
            yield from _limits(pair, light)


def _pair(pair: Pair, one: Comparison, slower: bool) -> Iterator[str]:
    first, second = one.reference.name, one.other.name
    flag = f"SLOWER on {one.faster}, the faster device: " if slower else ""
    yield f"  {flag}{pair.row.label}: {ratio(pair.ratio)}"
    if pair.sheets is None or pair.work is None:
        if slower:
            yield "    no operator is mapped to it, so that its work is unknown: more rows there (other batch) would explain it"
        return
    sheets, more = _between(pair.sheets), _between(pair.work)
    if pair.stated is None:
        yield (
            f"    the same work would take {sheets} by the sheets alone: {second} did {more} the work of {first} (other batch),"
            " or is as much less efficient"
        )
        return
    left = pair.ratio / pair.stated
    what = (
        f"{second} is {ratio(left)} as far from its limit"
        if left > 1
        else f"{second} comes {ratio(1 / left)} as near to its limit"
    )
    yield f"    T_SOL at what is stated for each: {ratio(pair.stated)} (the same work: {sheets}); what is left: {what}"


def _limits(pair: Pair, light: Lights) -> Iterator[str]:
    """How large what is open can have been on each device."""
    found = [one for one in light.open if one.row is pair.row and one.most]
    for name in dict.fromkeys(one.variable for one in found):
        limits = [f"{shown_most(one.most)} on {one.device}" for one in found if one.variable == name]
        yield f"    {name} at most {', '.join(limits)}"


def _between(pair: tuple[float, float]) -> str:
    low, high = map(ratio, pair)
    return low if low == high else f"{low} to {high}"


def foreign_lines(found: Sequence[Foreign]) -> Iterator[str]:
    """Kernels that cannot have run where they have a time."""
    for one in found:
        where = f"; they fit {' or '.join(one.possible)}, whose trace they may come from" if one.possible else ""
        yield (
            f"doubt: {one.device.name} is {one.capability}, and these kernels are named for a newer architecture, so that they"
            f" did not run there: {', '.join(one.kernels)}{where}"
        )
