"""Detection and reporting of a full disk."""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bertwire_core.errors import UserError

_FULL = {errno.ENOSPC, errno.EDQUOT}
# PyTorch's messages for a failed write, which carry no error number.
_TORCH_WRITE = ("PytorchStreamWriter", "inline_container", "iostream error")
# Bytes free below which any error counts as a full disk: C++ streams and protobuf report no error number.
_LEAST_BYTES = 1 << 20


@contextmanager
def told_if_full(path: Path, advice: str = "free some or choose another output") -> Iterator[None]:
    """Raise `UserError` where the block, which writes beside `path`, fails on a full disk."""
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
    """Whether a full disk caused `error`, also where a library wrapped the system's error."""
    if isinstance(error, OSError) and error.errno in _FULL:
        return True
    text = str(error)
    if "No space left" in text or any(mark in text for mark in _TORCH_WRITE):
        return True
    cause = error.__cause__ or error.__context__
    return cause is not None and is_full(cause)


def disk_of(path: Path) -> Path:
    """Return the nearest existing folder above `path`."""
    return next(folder for folder in path.absolute().parents if folder.exists())


def _is_full(path: Path) -> bool:
    return shutil.disk_usage(disk_of(path)).free < _LEAST_BYTES
