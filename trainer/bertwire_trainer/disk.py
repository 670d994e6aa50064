"""Faults of the disk that a checkpoint is written to."""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bertwire_client.errors import UserError

_FULL = {errno.ENOSPC, errno.EDQUOT}
# The published weights, and three checkpoints (the best, the last, the one being written) of weights and the two
# moments of AdamW.
_COPIES = 1 + 3 * 3
_SLACK_BYTES = 32 << 20
# What PyTorch says, without an error number, when a write fails.
_TORCH_WRITE = ("PytorchStreamWriter", "inline_container", "iostream error")


def require_space(folder: Path, weight_bytes: int, text_bytes: int) -> None:
    """Raises `UserError` where the disk of `folder` has less room than a run is likely to write.

    Args:
        folder: the folder to write; what it holds already counts as room, since it is replaced or gone on from.
        weight_bytes: size of the model's weights.
        text_bytes: size of the texts of dev and test, which the predictions repeat.
    """
    needed = _COPIES * weight_bytes + 2 * text_bytes + _SLACK_BYTES
    disk = next(path for path in (folder, *folder.parents) if path.exists())
    held = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    free = shutil.disk_usage(disk).free + held
    if free < needed:
        raise UserError(
            f"{disk} has {free >> 20} MiB free, training writes up to {needed >> 20} MiB; "
            "free some or choose another --output"
        )


@contextmanager
def one_line_faults(folder: Path) -> Iterator[None]:
    """Turns a failed write into one line: no space left, or what else the system says."""
    try:
        yield
    except BrokenPipeError:  # the reader of our output is gone, which is no fault of the disk
        raise
    except Exception as error:
        if is_full(error):
            raise UserError(f"no space left on the disk of {folder}; free some, then continue with --resume") from error
        if isinstance(error, OSError) and error.errno is not None:
            raise UserError(f"cannot write {error.filename or folder}: {error.strerror}") from error
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
