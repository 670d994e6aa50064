"""Compressed files: gzip, and Zstandard by Python 3.14's own module or the `zstd` extra."""

import gzip
import shutil
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Literal

from bertwire_core.errors import UserError, first_line

_ENDINGS = (".gz", ".zst")
# Bytes copied at a time; halved, a file is copied in twice as many pieces.
_PIECE = 1 << 20


def is_compressed(path: Path) -> bool:
    """Return whether a name ends in .gz or .zst."""
    return path.suffix.lower() in _ENDINGS


def plain_name(path: Path) -> Path:
    """Return a path without the ending of its compression."""
    return path.with_suffix("") if is_compressed(path) else path


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file for reading its bytes, without its compression.

    Raises:
        UserError: the file is damaged.
        ModuleNotFoundError: the file is .zst, and zstandard is not installed.
    """
    try:
        with _file(path, "rb", path.suffix) as file:
            yield file
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"{path} cannot be decompressed: {first_line(error)}") from error
    except Exception as error:
        if type(error).__name__ != "ZstdError":  # of either module
            raise
        raise UserError(f"{path} cannot be decompressed: {first_line(error)}") from error


def compress(plain: Path, path: Path, ending: str) -> None:
    """Write the bytes of `plain` to `path`, in the compression of `ending`; equal bytes give equal files."""
    with plain.open("rb") as source, _file(path, "wb", ending) as target:
        shutil.copyfileobj(source, target, _PIECE)


@contextmanager
def _file(path: Path, mode: Literal["rb", "wb"], ending: str) -> Iterator[Any]:
    kind = ending.lower()
    if kind == ".zst":
        with _zstandard().open(path, mode) as file:
            yield file
        return
    with path.open(mode) as raw:
        if kind != ".gz":
            yield raw
            return
        # Without the name and the time, by which equal contents would differ.
        with gzip.GzipFile("", mode, fileobj=raw, mtime=0) as file:
            yield file


def _zstandard() -> Any:  # noqa: ANN401 - a module, one of two
    if sys.version_info >= (3, 14):
        from compression import zstd

        return zstd
    import zstandard

    return zstandard
