"""Outputs that exist whole or not at all."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bertwire_client.errors import UserError


def require_absent(path: Path, *, overwrite: bool = False) -> None:
    """Raises `UserError` where `path` exists and may not be replaced, or where its parent folder cannot take it."""
    if path.exists() and not overwrite:
        raise UserError(f"{path} exists already; choose another output or pass --overwrite")
    if path.parent.exists() and not path.parent.is_dir():
        raise UserError(f"{path.parent} is not a folder; choose another output")


def partial_path(path: Path) -> Path:
    """The name under which `path` is written until it is complete."""
    return path.with_name(path.name + ".partial")


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Gives a file to write; it becomes `path` when the block ends well and is removed when it does not.

    Raises:
        UserError: `path` is a folder.
    """
    if path.is_dir():
        raise UserError(f"{path} is a folder; choose another output")
    partial = partial_path(path)
    partial.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield partial
        _flush(partial)
        partial.replace(path)
        _flush(path.parent)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Gives an empty folder to fill; it becomes `path`, replacing what is there, when the block ends well.

    Raises:
        UserError: `path` is a file.
    """
    if path.exists() and not path.is_dir():
        raise UserError(f"{path} is not a folder; choose another output")
    path.parent.mkdir(parents=True, exist_ok=True)
    # A name of its own, so that nothing that anyone else left beside `path` is touched.
    partial = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent))
    partial.chmod(0o755)  # a temporary folder is made for its owner alone
    try:
        yield partial
        publish_folder(partial, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def publish_folder(partial: Path, path: Path) -> None:
    """Flushes all of `partial` to disk and renames it to `path`, replacing an older folder."""
    for inner in (*partial.rglob("*"), partial):
        if not inner.is_symlink():
            _flush(inner)
    if path.exists():
        _swap(partial, path)
    else:
        partial.rename(path)
    _flush(path.parent)


def _swap(partial: Path, path: Path) -> None:
    # A folder cannot replace a full one in one step: the old one steps aside first, so that no half of it is left.
    old = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".old", dir=path.parent))
    path.rename(old)
    try:
        partial.rename(path)
    except OSError:
        old.rename(path)
        raise
    shutil.rmtree(old)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
