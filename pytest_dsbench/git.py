"""The few things that are asked of git: what a revision is, and what files were in it."""

import subprocess
from pathlib import Path

from .mistake import Mistake, unknown


def git(root: Path, *arguments: str, option: str) -> bytes:
    """What git prints, run in `root`. Raises Mistake with git's own last line; `option` names whoever asked."""
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, check=False)
    except FileNotFoundError:
        raise Mistake(f"{option}: git is not installed here") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines() or [f"git ended with code {done.returncode}"]
        raise Mistake(f"{option}: {said[-1].removeprefix('fatal: ')}")
    return done.stdout


def revision(root: Path, name: str, option: str) -> str:
    """The commit of a revision. Raises Mistake for an unknown one, with the nearest branches and tags."""
    git(root, "rev-parse", "--git-dir", option=option)
    try:
        return (
            git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}", option=option)
            .decode()
            .strip()
        )
    except Mistake:
        names = git(root, "for-each-ref", "--format=%(refname:short)", option=option).decode().split()
        raise Mistake(f"{option}: {unknown('git revision', name, [*names, 'HEAD'])}") from None


def files(root: Path, commit: str, folder: str, option: str) -> dict[str, bytes]:
    """The .jsonl files of `folder`, which is relative to `root`, in a commit; by path."""
    listed = git(root, "ls-tree", "--name-only", commit, f"./{folder}/", option=option).decode().splitlines()
    return {path: git(root, "show", f"{commit}:./{path}", option=option) for path in listed if path.endswith(".jsonl")}
