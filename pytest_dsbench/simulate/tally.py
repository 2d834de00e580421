"""What a gate was worth over all nights: its false alarms, and the slowdowns it found."""

from collections.abc import Collection, Mapping

#: Slowdowns that are injected, as shares.
SIZES = (0.03, 0.05, 0.10)


class Tally:
    """False alarms by night and finds by size of one gate."""

    def __init__(self, name: str) -> None:
        self.name = name
        #: false alarms of each night
        self.false: list[int] = []
        self.injected = dict.fromkeys(SIZES, 0)
        self.found = dict.fromkeys(SIZES, 0)
        #: found only when they were there the next night too
        self.later = dict.fromkeys(SIZES, 0)
        #: suspicions of each night, and nights on which the environment was found unfit
        self.doubts: list[int] = []
        #: those of them that are for a slowdown
        self.slow_doubts: list[int] = []
        self.unfit = 0

    def night(self, alarms: Collection[int], slow: Mapping[int, float], others: int = 0) -> None:
        """Counts a night: the cases that alarmed, those that were slowed down with their sizes, and alarms of no one case."""
        self.false.append(sum(case not in slow for case in alarms) + others)
        for case, size in slow.items():
            self.injected[size] += 1
            self.found[size] += case in alarms

    @property
    def false_alarms(self) -> float:
        """False alarms per night."""
        return sum(self.false) / len(self.false)

    @property
    def false_nights(self) -> float:
        """Share of the nights with any false alarm."""
        return sum(map(bool, self.false)) / len(self.false)

    def share(self, size: float, later: bool = True) -> float:
        """Share of the slowdowns of a size that were found, the next night at the latest."""
        return (self.found[size] + later * self.later[size]) / self.injected[size]

    @property
    def suspicions(self) -> float:
        """Suspicions per night: each was measured again."""
        return sum(self.doubts) / len(self.doubts)

    @property
    def slower(self) -> float:
        """Suspicions of a slowdown per night."""
        return sum(self.slow_doubts) / len(self.slow_doubts)
