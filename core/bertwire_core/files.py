"""Outputs that exist whole or not at all, that one process makes at a time, and that replace none of its inputs."""

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bertwire_core.disk import told_if_full
from bertwire_core.errors import UserError


def output_path(path: Path) -> Path:
    """The place of an output, with `~` expanded.

    Raises:
        UserError: `path` names no file or folder of its own (`.`, `..`, `/`), or the home of nobody.
    """
    if path.name in ("", ".."):
        raise UserError(f"{path} is no name for an output; give it one of its own, for example {path / 'result'}")
    try:
        return path.expanduser()
    except RuntimeError:
        raise UserError(f"{path}: there is no user {path.parts[0][1:]!r} here; write the path out") from None


def unicode_name(path: Path) -> str:
    """What records call a file or folder: its name as UTF-8, whatever the locale, with other bytes escaped."""
    return os.fsencode(path.name).decode(errors="backslashreplace")


def require_apart(output: Path, *inputs: Path) -> None:
    """Raises `UserError` where `output` is one of `inputs` or a folder that holds one, under whatever name or link."""
    for each in inputs:
        for whole in (each.absolute(), each.resolve()):
            if _same(output, whole):
                raise UserError(f"{output} is also {each}, which it would replace; choose another output")
            if any(_same(output, folder) for folder in whole.parents):
                raise UserError(f"{output} holds {each}, which would be lost with it; choose another output")


def require_absent(path: Path, *, overwrite: bool = False) -> None:
    """Raises `UserError` where `path` exists and may not be replaced, or where its parent folder cannot take it."""
    if _is_there(path) and not overwrite:
        raise UserError(f"{path} exists already; choose another output or pass --overwrite")
    _require_parent(path)


def _require_parent(path: Path) -> None:
    if path.parent.exists() and not path.parent.is_dir():
        raise UserError(f"{path.parent} is not a folder; choose another output")


@contextmanager
def in_use(path: Path) -> Iterator[None]:
    """Keeps the output `path` to this process while the block runs; makes the folder that it goes to.

    The lock is `flock` on a file beside the output, which the system lets go of however the process ends.

    Raises:
        UserError: another process has it, or the folder is none.
    """
    _require_parent(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    place = path.with_name(f".{path.name}.lock")
    lock = _locked(path, place)
    try:
        os.truncate(lock, 0)
        os.write(lock, str(os.getpid()).encode())
        yield
    finally:
        place.unlink(missing_ok=True)
        os.close(lock)


def _locked(path: Path, place: Path) -> int:
    while True:
        lock = os.open(place, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(lock, 32).decode(errors="replace")
            os.close(lock)
            raise UserError(
                f"{path} is in use by process {owner or '?'}; wait until that ends or choose another output"
            ) from None
        except OSError:
            return lock  # a file system without locks, where one works as before there were any
        if _is_at(place, lock):
            return lock
        # Whose it was has removed it in between.
        os.close(lock)


def _is_at(place: Path, lock: int) -> bool:
    try:
        return os.path.samestat(place.stat(), os.fstat(lock))
    except FileNotFoundError:
        return False


def partial_path(path: Path) -> Path:
    """Where training keeps what it has of the folder `path` until that is complete."""
    return path.with_name(path.name + ".partial")


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Gives an empty file to write; it becomes `path` when the block ends well and is removed when it does not.

    Raises:
        UserError: `path` is a folder.
    """
    if path.is_dir():
        raise UserError(f"{path} is a folder; choose another output")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = _beside(path, "partial")
    try:
        with told_if_full(path):
            partial.touch(exist_ok=False)
            yield partial
            _flush(partial)
            partial.replace(path)
            _flush(path.parent)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path, *, overwrite: bool) -> Iterator[Path]:
    """Gives an empty folder to fill; it becomes `path` when the block ends well.

    Raises:
        UserError: `path` is a file, or by then something is there that may not be replaced.
    """
    if path.exists() and not path.is_dir():
        raise UserError(f"{path} is not a folder; choose another output")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = _beside(path, "partial")
    try:
        with told_if_full(path):
            partial.mkdir()
            yield partial
            publish_folder(partial, path, overwrite=overwrite)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def scratch_folder(path: Path) -> Iterator[Path]:
    """Gives an empty folder on the disk of the output `path`, for what is not kept; it is gone when the block ends.

    Raises:
        UserError: the disk is full.
    """
    folder = _beside(path, "scratch")
    try:
        with told_if_full(path):
            folder.mkdir()
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def publish_folder(partial: Path, path: Path, *, overwrite: bool) -> None:
    """Flushes all of `partial` to disk and renames it to `path`, replacing an older folder if `overwrite`.

    Raises:
        UserError: something is there that may not be replaced.
    """
    for inner in (*partial.rglob("*"), partial):
        if not inner.is_symlink():
            _flush(inner)
    if _is_there(path) and overwrite:
        _swap(partial, path)
    else:
        require_absent(path)
        # Between the look and this a full folder may have come: renaming fails on it.
        partial.rename(path)
    _flush(path.parent)


def _swap(partial: Path, path: Path) -> None:
    # A folder cannot replace a full one in one step: the old one steps aside first, so that no half of it is left.
    old = _beside(path, "old")
    try:
        path.rename(old)
        partial.rename(path)
    finally:
        # Whatever ended the block, Ctrl-C between two steps included, `path` holds the old folder or the new one.
        if not _is_there(path):
            old.rename(path)
        elif old.is_symlink():
            old.unlink()
        elif old.exists():
            shutil.rmtree(old)


def _beside(path: Path, ending: str) -> Path:
    # A name of its own, so that nothing that anyone else left beside `path` is touched. Made by mkdir or touch and not
    # by tempfile, whose results are closed to all but the owner, whatever the umask.
    return path.with_name(f".{path.name[:40]}.{secrets.token_hex(8)}.{ending}")


def _is_there(path: Path) -> bool:
    return path.exists() or path.is_symlink()


def _same(path: Path, other: Path) -> bool:
    if path.exists() and other.exists():
        return path.samefile(other)
    return path.resolve() == other


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
