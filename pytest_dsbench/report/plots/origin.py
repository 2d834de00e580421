"""Where a picture comes from, in words: device, dates, driver, files."""

from collections.abc import Iterable, Sequence

from ...results import Device, Result, Source


def used(device: Device, shown: Iterable[Result]) -> list[Source]:
    """The runs of a device that some of its results are from."""
    names = {one.run for one in shown}
    return [source for source in device.sources if source.name in names]


def when(sources: Sequence[Source]) -> str:
    """When they ran, on what driver, and whether their times were measured elsewhere."""
    dates = sorted({_date(source.header.started) for source in sources if source.header.started})
    lost = any(not source.header.started for source in sources)
    ran = f"run of {dates[0]}" if len(dates) == 1 else f"{len(sources)} runs, {dates[0]} to {dates[-1]}" if dates else "run"
    drivers = sorted({source.header.environment.driver or "" for source in sources} - {""})
    driver = f"driver{'s' if len(drivers) > 1 else ''} {', '.join(drivers)}" if drivers else ""
    gpu = any(source.header.environment.device != "cpu" for source in sources)
    elsewhere = sorted({source.header.imported or "" for source in sources} - {""})
    said = [
        ran,
        "of a run the date is not known" if lost else "",
        driver or ("driver not known" if gpu else ""),
        f"times measured elsewhere: {', '.join(elsewhere)}" if elsewhere else "",
    ]
    return " · ".join(filter(None, said))


def files(sources: Sequence[Source]) -> str:
    """The run files, in one line."""
    paths = list(dict.fromkeys(source.path for source in sources))
    if len(paths) > 3:
        return f"from {len(paths)} run files, {paths[0]} to {paths[-1]}"
    return f"from {', '.join(paths)}"


def _date(started: str) -> str:
    return f"{started[:16].replace('T', ' ')} UTC"
