"""How many kernels are right: a kernel passes where a case of it is right and none is wrong."""

from collections.abc import Iterable

from ..record import Record
from .result import Result, Standing


class Kernel(Record):
    """One provider's kernel for an operator, over all its cases."""

    kernel: str
    provider: str
    category: str
    results: tuple[Result, ...]

    @property
    def standing(self) -> Standing:
        """Failing where one case is; else passing where one is."""
        found = {one.standing for one in self.results}
        return "failing" if "failing" in found else "passing" if "passing" in found else "not timed"


def kernels(found: Iterable[Result]) -> tuple[Kernel, ...]:
    """The kernels of some results, in the order of their first case."""
    groups: dict[tuple[str, str], list[Result]] = {}
    for one in found:
        groups.setdefault((one.kernel, one.case.provider), []).append(one)
    return tuple(
        Kernel(kernel=kernel, provider=provider, category=group[0].category, results=tuple(group))
        for (kernel, provider), group in groups.items()
    )


def passing(found: Iterable[Kernel]) -> str:
    """ "21 of 23 kernels pass, 1 fails, 1 without a result"."""
    standings = [one.standing for one in found]
    failing, silent = standings.count("failing"), standings.count("not timed")
    words = [f"{standings.count('passing')} of {len(standings)} kernels pass"]
    words += [f"{failing} fail{'s' if failing == 1 else ''}"] if failing else []
    return ", ".join([*words, *([f"{silent} without a result"] if silent else [])])
