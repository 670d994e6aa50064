"""Compressed files: gzip, and Zstandard by Python 3.14's own module or the `zstd` extra."""

import gzip
import io
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
# Compressed bytes read at a time, which may be some hundred times as many in memory; halved, nothing breaks.
_COMPRESSED = 1 << 16


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
        with _open_zstd(path, mode) as file:
            yield file
        return
    with path.open(mode) as raw:
        if kind != ".gz":
            yield raw
            return
        # Without the name and the time, by which equal contents would differ.
        with gzip.GzipFile("", mode, fileobj=raw, mtime=0) as file:
            yield file


def _open_zstd(path: Path, mode: Literal["rb", "wb"]) -> Any:  # noqa: ANN401 - of one of two modules
    if sys.version_info >= (3, 14):
        from compression import zstd

        return zstd.open(path, mode)
    import zstandard

    return io.BufferedReader(_Frames(path)) if mode == "rb" else zstandard.open(path, mode)


class _Frames(io.RawIOBase):
    """The bytes of a .zst file by the package zstandard, whose own reader takes a cut for the end, and the first frame
    for the whole.
    """

    def __init__(self, path: Path) -> None:
        self._raw = path.open("rb")
        self._frame: Any = None
        self._compressed = b""
        self._plain = memoryview(b"")

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - the standard library's
        """Read bytes into a buffer, and return how many. Raise `EOFError` where the file ends within a frame."""
        while not self._plain:
            self._compressed = self._compressed or self._raw.read(_COMPRESSED)
            if not self._compressed:
                if self._frame is not None:
                    raise EOFError("it ends within a frame")
                return 0
            self._plain = memoryview(self._decompressed())
        count = min(len(buffer), len(self._plain))
        buffer[:count], self._plain = self._plain[:count], self._plain[count:]
        return count

    def _decompressed(self) -> bytes:
        import zstandard

        self._frame = self._frame or zstandard.ZstdDecompressor().decompressobj()
        plain: bytes = self._frame.decompress(self._compressed)
        self._compressed = self._frame.unused_data
        if self._frame.eof:
            self._frame = None
        return plain

    def close(self) -> None:
        """Close the file."""
        self._raw.close()
        super().close()
