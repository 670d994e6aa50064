"""A full disk, told by the output that it has no room for."""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bertwire_core.errors import UserError

_FULL = {errno.ENOSPC, errno.EDQUOT}
# What PyTorch says, without an error number, when a write fails.
_TORCH_WRITE = ("PytorchStreamWriter", "inline_container", "iostream error")
# With less than this free, a library's own error is taken for one of the disk: C++ streams and protobuf give no number.
_LEAST_BYTES = 1 << 20


@contextmanager
def told_if_full(path: Path, advice: str = "free some or choose another output") -> Iterator[None]:
    """Raises `UserError` where the block, which writes beside `path`, fails for want of room there."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno == errno.EFBIG:
            raise UserError(f"{path}: no file may be that large here; raise the limit, see ulimit -f") from error
        if is_full(error) or _is_full(path):
            raise UserError(f"no space left on the disk of {path}; {advice}") from error
        raise


def is_full(error: BaseException) -> bool:
    """Whether `error` comes of a full disk; the libraries that write weights wrap the system's error."""
    if isinstance(error, OSError) and error.errno in _FULL:
        return True
    text = str(error)
    if "No space left" in text or any(mark in text for mark in _TORCH_WRITE):
        return True
    cause = error.__cause__ or error.__context__
    return cause is not None and is_full(cause)


def disk_of(path: Path) -> Path:
    """The nearest folder above `path` that exists, on whose disk it will be."""
    return next(folder for folder in path.absolute().parents if folder.exists())


def _is_full(path: Path) -> bool:
    return shutil.disk_usage(disk_of(path)).free < _LEAST_BYTES
