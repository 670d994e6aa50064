"""What is compared: the working tree, and another commit in a worktree and an environment of its own."""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from bench.machine import git, machine
from bertwire_core.console import err
from bertwire_core.errors import UserError
from demo.steps import content_hash, keep, made_from

THIS, OTHER = "this", "other"
CHECKPOINT = Path("build/demo/checkpoint")
_TREES = Path("build/against")
# Within a tree.
_BUNDLE, _COMMAND = Path("build/bench/bundle"), Path(".venv/bin/bertwire")


@dataclass(frozen=True)
class Side:
    """One of the servers that are compared.

    Attributes:
        name: `this` or `other`.
        commit: the commit of its code; ends in `-changed` where the tree has changes.
        command: its `bertwire`.
        bundle: the bundle that it serves.
    """

    name: str
    commit: str
    command: Path
    bundle: Path


def this_side(bundle: Path) -> Side:
    """Return the working tree's side."""
    return Side(THIS, str(machine()["commit"]), Path(sys.executable).with_name("bertwire"), bundle)


def both_sides(revision: str) -> list[Side]:
    """Return the working tree's side and another commit's, each with a bundle that its own code exports.

    What an earlier run has prepared is used again.

    Raises:
        UserError: there is no such commit or no checkpoint, or a step of the preparation fails.
    """
    if not CHECKPOINT.is_dir():
        raise UserError(f"{CHECKPOINT} is missing; make demo makes it")
    commit = git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    if not commit:
        raise UserError(f"there is no commit {revision}; git log lists those there are")
    tree = _TREES / commit[:10]
    if not (tree / ".git").exists():
        # Forced, since `make clean` removes the folder and leaves git's record of it.
        _run(Path(), "git", "worktree", "add", "--force", "--detach", tree, commit)
    _run(tree, "make", "install")
    shutil.copytree(CHECKPOINT, tree / CHECKPOINT, dirs_exist_ok=True)
    other = Side(OTHER, commit, tree / _COMMAND, _exported(tree))
    return [this_side(_exported(Path())), other]


def _exported(tree: Path) -> Path:
    """Export the checkpoint by the code of a tree unless its bundle is of this checkpoint and code."""
    bundle = tree / _BUNDLE
    inputs = {name: content_hash(tree / name, "*.py") for name in ("export", "runtime")}
    inputs["checkpoint"] = content_hash(tree / CHECKPOINT)
    if not made_from(bundle, inputs):
        _run(tree, _COMMAND, "export", CHECKPOINT, "--output", _BUNDLE, "--overwrite")
        keep(bundle, inputs)
    return bundle


def _run(folder: Path, *command: object) -> None:
    words = [str(word) for word in command]
    err.print(f"in {folder}: {' '.join(words)}", markup=False, highlight=False, soft_wrap=True)
    if status := subprocess.run(words, cwd=folder, check=False).returncode:
        raise UserError(f"{' '.join(words)} in {folder} ended with status {status}; see above")
