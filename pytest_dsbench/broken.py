"""A broken shape file as an item of its own."""

from pathlib import Path

import pytest

from .shapes import Broken


class BrokenShapes(pytest.Item):
    """A shape file that belongs to no bench: it fails with its sentence, and stops nothing else."""

    sentence: str = ""

    @classmethod
    def of(cls, session: pytest.Session, broken: Broken) -> "BrokenShapes":
        """The item of one mistake; its node id is the place of the mistake."""
        where = f"{broken.path}:{broken.line}"
        item = cls.from_parent(session, name=where, nodeid=where, path=session.config.rootpath / broken.path)
        item.sentence = str(broken)
        return item

    def runtest(self) -> None:
        """Fails."""
        pytest.fail(self.sentence, pytrace=False)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Where pytest says this item is."""
        return self.path, None, f"broken shapes at {self.name}"
