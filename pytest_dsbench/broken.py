"""A broken shape file as an item of its own."""

from pathlib import Path

import pytest


class BrokenShapes(pytest.Item):
    """A shape file that belongs to no bench: it fails with its sentence, and stops nothing else."""

    sentence: str = ""

    def runtest(self) -> None:
        """Fails."""
        pytest.fail(self.sentence, pytrace=False)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Where pytest says this item is."""
        return self.path, None, self.name
