"""Reads files of a bundle: plain files only, never more of one than it may have."""

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
# Far above any real manifest; keeps a wrong file from being read whole.
_MAX_SMALL_BYTES = 16 << 20
# A link is not followed, and a pipe put in a file's place does not block.
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def read_small(folder: Path, name: str) -> bytes:
    """Reads a file whose size is not known; raises `BundleError` where it is missing, no plain file or too large."""
    with _opened(folder, name) as (file, _):
        content = file.read(_MAX_SMALL_BYTES + 1)
    if len(content) > _MAX_SMALL_BYTES:
        raise BundleError(f"{folder}: {name} is larger than any manifest")
    return content


def read_listed(folder: Path, entry: FileEntry) -> bytes:
    """Reads a listed file; raises `BundleError` unless the bytes returned are those that were sealed."""
    with _opened(folder, entry.name) as (file, size):
        _require_size(folder, entry, size)
        content = file.read(entry.bytes)
    _require_hash(folder, entry, hashlib.sha256(content).hexdigest())
    return content


def check_listed(folder: Path, entry: FileEntry) -> None:
    """Hashes a listed file piece by piece; raises `BundleError` where it is not what was sealed."""
    digest = hashlib.sha256()
    with _opened(folder, entry.name) as (file, size):
        _require_size(folder, entry, size)
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    _require_hash(folder, entry, digest.hexdigest())


@contextmanager
def _opened(folder: Path, name: str) -> Iterator[tuple[BinaryIO, int]]:
    """Opens a plain file and gives it with its size in bytes; what is checked is what was opened, not its name."""
    try:
        # Before it is opened, since that alone can act on a device; and after, since it may not be the same any more.
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
