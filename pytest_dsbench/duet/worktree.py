"""The files of another commit, checked out beside the ones that are here."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path

from ..mistake import Mistake, unknown

#: So many branches and tags are named at most to somebody who mistyped one.
_MOST_NAMES = 8


@contextmanager
def worktree(root: Path, ref: str, option: str = "--old-ref") -> Iterator[Path]:
    """The folder `root` as it was at the commit `ref`, in a temporary worktree of its git repository.

    Raises Mistake, naming `option`, where there is no git, no repository, or no such commit.
    """
    top = _git(root, "rev-parse", "--show-toplevel")
    if top is None:
        raise Mistake(f"{option}: {root} is not in a git repository")
    commit = _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
    if commit is None:
        raise Mistake(f"{option}: {unknown('git ref', ref, _close(ref, root))}")
    inside = root.resolve().relative_to(Path(top).resolve())
    with tempfile.TemporaryDirectory(prefix="dsbench-worktree-") as folder:
        place = Path(folder).resolve() / "tree"
        try:
            if _git(root, "worktree", "add", "--detach", "--force", str(place), commit) is None:
                raise Mistake(f"{option}: git cannot check out {ref} in a worktree of {top}")
            if not (place / inside).is_dir():
                raise Mistake(f"{option}: {ref} has no folder {inside}")
            yield place / inside
        finally:
            _git(root, "worktree", "remove", "--force", str(place))


def _close(ref: str, root: Path) -> list[str]:
    """The branches and tags that resemble `ref`; a few of all where none does."""
    names = (_git(root, "for-each-ref", "--format=%(refname:short)", "refs/heads", "refs/tags") or "").split()
    return get_close_matches(ref, names, n=_MOST_NAMES, cutoff=0.4) or names[:_MOST_NAMES]


def _git(root: Path, *words: str) -> str | None:
    """What a git command prints; None where it fails."""
    # Inside a hook, these would lead git to another repository than that of the folder.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *words], capture_output=True, text=True, stdin=subprocess.DEVNULL, env=kept, check=False
        )
    except FileNotFoundError:
        raise Mistake("git is not installed; without it there is no earlier commit to compare with") from None
    return done.stdout.strip() if done.returncode == 0 else None
