"""Atomic outputs: whole or absent, locked to one process, never over an input."""

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator, Set
from contextlib import contextmanager
from pathlib import Path

from bertwire_core.disk import told_if_full
from bertwire_core.errors import UserError


def output_path(path: Path) -> Path:
    """Return the path of an output, with `~` expanded.

    Raises:
        UserError: `path` has no name of its own (`.`, `..`, `/`), or an unknown user's home.
    """
    if path.name in ("", ".."):
        raise UserError(f"{path} is no name for an output; give it one of its own, for example {path / 'result'}")
    try:
        return path.expanduser()
    except RuntimeError:
        raise UserError(f"{path}: there is no user {path.parts[0][1:]!r} here; write the path out") from None


def unicode_name(path: Path) -> str:
    """Return a file's name for records: UTF-8 in any locale, other bytes escaped."""
    return os.fsencode(path.name).decode(errors="backslashreplace")


def require_apart(output: Path, *inputs: Path) -> None:
    """Raise `UserError` where `output` is one of `inputs` or a folder that holds one, under any name or link."""
    for each in inputs:
        for whole in (each.absolute(), each.resolve()):
            if _same(output, whole):
                raise UserError(f"{output} is also {each}, which it would replace; choose another output")
            if any(_same(output, folder) for folder in whole.parents):
                raise UserError(f"{output} holds {each}, which would be lost with it; choose another output")


def require_absent(path: Path, *, overwrite: bool = False) -> None:
    """Raise `UserError` where `path` exists and `overwrite` is off, or where its parent is no folder."""
    if _is_there(path) and not overwrite:
        raise UserError(f"{path} exists already; choose another output or pass --overwrite")
    _require_parent(path)


def require_own(path: Path, marks: Set[str], kind: str) -> None:
    """Raise `UserError` where `path` is a folder of something else, which --overwrite would delete as a whole.

    Args:
        path: the output.
        marks: names of files that every folder of its kind has.
        kind: what it would be, in words.
    """
    found = {each.name for each in path.iterdir()} if path.is_dir() else set()
    if found and not marks <= found:
        raise UserError(f"{path} is no {kind}, and --overwrite replaces nothing else; choose another output")


def _require_parent(path: Path) -> None:
    if path.parent.exists() and not path.parent.is_dir():
        raise UserError(f"{path.parent} is not a folder; choose another output")


@contextmanager
def in_use(path: Path) -> Iterator[None]:
    """Lock the output `path` to this process for the block; create its parent folder.

    The lock is `flock` on a file beside the output, which the system releases however the process ends.

    Raises:
        UserError: another process holds the lock, or the parent is no folder.
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
            return lock  # a file system without locks: go on unlocked
        if _is_at(place, lock):
            return lock
        # The previous owner removed the file after it was opened here.
        os.close(lock)


def _is_at(place: Path, lock: int) -> bool:
    try:
        return os.path.samestat(place.stat(), os.fstat(lock))
    except FileNotFoundError:
        return False


def partial_path(path: Path) -> Path:
    """Return the folder in which a command that can go on keeps its unfinished output `path`."""
    return path.with_name(path.name + ".partial")


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield an empty file that becomes `path` when the block succeeds and is removed when it fails.

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
            publish_file(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def publish_file(partial: Path, path: Path) -> None:
    """Flush `partial` to disk and rename it to `path`."""
    _flush(partial)
    partial.replace(path)
    _flush(path.parent)


@contextmanager
def whole_folder(path: Path, *, overwrite: bool) -> Iterator[Path]:
    """Yield an empty folder that becomes `path` when the block succeeds and is removed when it fails.

    Raises:
        UserError: `path` is a file, or exists at the end and `overwrite` is off.
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
    """Yield an empty folder on the disk of the output `path`; remove it after the block.

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
    """Flush `partial` to disk and rename it to `path`.

    Raises:
        UserError: `path` exists and `overwrite` is off.
    """
    for inner in (*partial.rglob("*"), partial):
        if not inner.is_symlink():
            _flush(inner)
    if _is_there(path) and overwrite:
        _swap(partial, path)
    else:
        require_absent(path)
        # Where a non-empty folder was created since the check, rename fails.
        partial.rename(path)
    _flush(path.parent)


def _swap(partial: Path, path: Path) -> None:
    # rename cannot replace a non-empty folder, so the old one is renamed first and never half deleted.
    old = _beside(path, "old")
    try:
        path.rename(old)
        partial.rename(path)
    finally:
        # After any exception, Ctrl-C included, `path` is the old folder or the new one.
        if not _is_there(path):
            old.rename(path)
        elif old.is_symlink():
            old.unlink()
        elif old.exists():
            shutil.rmtree(old)


def _beside(path: Path, ending: str) -> Path:
    # A random name touches no other file beside `path`. Not tempfile, which ignores the umask and makes files private.
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
