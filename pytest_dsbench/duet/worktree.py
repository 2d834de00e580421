"""The files of another commit, checked out beside the ones that are here."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..git import git, revision
from ..mistake import Mistake


@contextmanager
def worktree(root: Path, ref: str, option: str = "--old-ref") -> Iterator[Path]:
    """The folder `root` as it was at the commit `ref`, in a temporary worktree of its git repository.

    Raises Mistake, naming `option`, where there is no git, no repository, or no such commit.
    """
    commit = revision(root, ref, option)
    top = Path(git(root, "rev-parse", "--show-toplevel", option=option).decode().strip())
    inside = root.resolve().relative_to(top.resolve())
    with tempfile.TemporaryDirectory(prefix="dsbench-worktree-") as folder:
        place = Path(folder).resolve() / "tree"
        try:
            git(root, "worktree", "add", "--detach", "--force", str(place), commit, option=option)
            if not (place / inside).is_dir():
                raise Mistake(f"{option}: {ref} has no folder {inside}")
            yield place / inside
        finally:
            with suppress(Mistake):
                git(root, "worktree", "remove", "--force", str(place), option=option)
