"""Faults of the disk that a checkpoint is written to."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bertwire_core.disk import disk_of, is_full, told_if_full
from bertwire_core.errors import UserError

# Copies of the weights on the disk at once: the published ones, and three checkpoints (the best, the last, the one
# being written) of the weights and the two moments of AdamW. Halved, a disk can fill up in the third epoch.
_COPIES = 1 + 3 * 3
# Copies that a stage keeps until the checkpoint is published: the weights and the two moments of AdamW.
_STAGE_COPIES = 3
# Bytes for what else is written: tokenizer, logs, records. Halved, a large tokenizer can find no room at the end.
_SLACK_BYTES = 32 << 20


def require_space(folder: Path, weight_bytes: int, text_bytes: int, stages: int) -> None:
    """Raise `UserError` where the disk of `folder` has less room than a run is likely to write.

    Args:
        folder: the folder to write; what it holds already counts as room, since it is replaced or gone on from.
        weight_bytes: bytes of the model's weights.
        text_bytes: bytes of the texts of dev and test, which the predictions repeat.
        stages: number of stages around the method.
    """
    needed = (_COPIES + _STAGE_COPIES * stages) * weight_bytes + 2 * text_bytes + _SLACK_BYTES
    disk = disk_of(folder)
    held = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    free = shutil.disk_usage(disk).free + held
    if free < needed:
        raise UserError(
            f"{disk} has {free >> 20} MiB free, training writes up to {needed >> 20} MiB; "
            "free some or choose another --output"
        )


@contextmanager
def one_line_faults(folder: Path) -> Iterator[None]:
    """Raise `UserError` where a write in the block fails: no space left, or what else the system says."""
    with told_if_full(folder, "free some, then continue with --resume"):
        try:
            yield
        except OSError as error:
            if error.errno is None or is_full(error):
                raise
            raise UserError(f"cannot write {error.filename or folder}: {error.strerror}") from error
