"""Bounded reads of a bundle's regular files."""

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from bertwire_runtime.bundle.errors import BundleError
from bertwire_runtime.bundle.manifest import FileEntry

_CHUNK = 1 << 20
# Bytes, far above any real manifest; bounds the memory for a wrong file.
_MAX_SMALL_BYTES = 16 << 20
# Follow no link; do not block on a pipe.
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def read_small(folder: Path, name: str) -> bytes:
    """Read a file of unknown size; raise `BundleError` where it is missing, not regular or too large."""
    with _opened(folder, name) as (file, _):
        content = file.read(_MAX_SMALL_BYTES + 1)
    if len(content) > _MAX_SMALL_BYTES:
        raise BundleError(f"{folder}: {name} is larger than any manifest")
    return content


def read_listed(folder: Path, entry: FileEntry) -> bytes:
    """Read a listed file; raise `BundleError` unless its bytes are those that were sealed."""
    with _opened(folder, entry.name) as (file, size):
        _require_size(folder, entry, size)
        content = file.read(entry.bytes)
    _require_hash(folder, entry, hashlib.sha256(content).hexdigest())
    return content


def check_listed(folder: Path, entry: FileEntry) -> None:
    """Hash a listed file in chunks; raise `BundleError` where it differs from what was sealed."""
    digest = hashlib.sha256()
    with _opened(folder, entry.name) as (file, size):
        _require_size(folder, entry, size)
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    _require_hash(folder, entry, digest.hexdigest())


@contextmanager
def _opened(folder: Path, name: str) -> Iterator[tuple[BinaryIO, int]]:
    """Open a regular file and yield it with its size; the checks are of the opened file, not of its name."""
    try:
        # Checked before opening, which alone can trigger a device, and after, since the file may have been replaced.
        _require_plain(folder, name, (folder / name).lstat())
        with os.fdopen(os.open(folder / name, _FLAGS), "rb") as file:
            status = os.fstat(file.fileno())
            _require_plain(folder, name, status)
            yield file, status.st_size
    except FileNotFoundError:
        raise BundleError(f"{folder}: {name} is missing; a bundle is a folder written by bertwire export") from None
    except OSError as error:
        raise BundleError(f"{folder}: cannot read {name}: {error.strerror}") from error


def _require_plain(folder: Path, name: str, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise BundleError(f"{folder}: {name} is no plain file; copy the whole bundle again")


def _require_size(folder: Path, entry: FileEntry, size: int) -> None:
    if size != entry.bytes:
        raise BundleError(f"{folder}: {entry.name} has {size} bytes, {entry.bytes} were sealed; copy the bundle again")


def _require_hash(folder: Path, entry: FileEntry, found: str) -> None:
    if found != entry.sha256:
        raise BundleError(f"{folder}: {entry.name} is not what was sealed (its SHA-256 differs); copy the bundle again")
