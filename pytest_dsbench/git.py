"""The few things that are asked of git: what a revision is, and what files were in it."""

import os
import subprocess
from difflib import get_close_matches
from pathlib import Path

from .mistake import Mistake, unknown

#: So many branches and tags are named at most to somebody who mistyped one.
_MOST_NAMES = 8


def git(root: Path, *arguments: str, option: str) -> bytes:
    """What git prints, run in `root`. Raises Mistake with git's own last line; `option` names whoever asked."""
    # Inside a hook, these would lead git to another repository than that of the folder.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    words = ["git", "-C", str(root), *arguments]
    try:
        done = subprocess.run(words, capture_output=True, stdin=subprocess.DEVNULL, env=kept, check=False)
    except FileNotFoundError:
        raise Mistake(f"{option}: git is not installed here") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines() or [f"git ended with code {done.returncode}"]
        raise Mistake(f"{option}: {said[-1].removeprefix('fatal: ')}")
    return done.stdout


def revision(root: Path, name: str, option: str) -> str:
    """The commit of a revision. Raises Mistake where there is no repository, or no such revision, with the nearest names."""
    try:
        git(root, "rev-parse", "--git-dir", option=option)
    except Mistake as error:
        raise Mistake(f"{option}: {root} is not in a git repository" if "repository" in str(error) else str(error)) from None
    words = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    try:
        return git(root, *words, option=option).decode().strip()
    except Mistake:
        names = git(root, "for-each-ref", "--format=%(refname:short)", option=option).decode().split()
        near = get_close_matches(name, names, n=_MOST_NAMES, cutoff=0.4) or names[:_MOST_NAMES]
        raise Mistake(f"{option}: {unknown('git revision', name, near)}") from None


def files(root: Path, commit: str, folder: str, option: str) -> dict[str, bytes]:
    """The .jsonl files of `folder`, which is relative to `root`, in a commit; by path."""
    listed = git(root, "ls-tree", "-z", "--name-only", commit, f"./{folder}/", option=option).decode().split("\0")
    return {path: git(root, "show", f"{commit}:./{path}", option=option) for path in listed if path.endswith(".jsonl")}
