"""Files that are read again when they change."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from bertwire_core.errors import UserError

_log = logging.getLogger(__name__)
# Bytes, far above any file of keys or certificates. Doubled, a wrong file takes more memory; halved, nothing breaks.
_MAX_BYTES = 16 << 20

T = TypeVar("T")
# Time of change, size and inode; the inode reveals a file that was renamed into place within a tick of the clock.
_Stamp = tuple[int, int, int] | None


class Watched(Generic[T]):
    """Last valid contents of some files.

    Args:
        paths: the files, which change together.
        read: reads them; raises `UserError` where they are invalid, as this constructor does then.

    Attributes:
        value: result of `read`; replaced atomically, so that any thread may read it.
    """

    def __init__(self, paths: Sequence[Path], read: Callable[[], T]) -> None:
        self._paths, self._read = tuple(paths), read
        # Before `read`, so that the next poll sees a change in between.
        self._stamps = self._look()
        self.value = read()

    def poll(self) -> None:
        """Read the files again if one has changed; log the fault and keep the old value where they are invalid."""
        if (stamps := self._look()) == self._stamps:
            return
        self._stamps = stamps
        names = " and ".join(map(str, self._paths))
        try:
            self.value = self._read()
        except Exception as error:
            # No content of a file may end the polling.
            _log.error("what was read from %s before stays in use: %s", names, error)
        else:
            _log.info("read %s again", names)

    def _look(self) -> list[_Stamp]:
        return [_stamp(path) for path in self._paths]


def read_bytes(path: Path) -> bytes:
    """Return the content of a small file; raise `UserError` where it cannot be read."""
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    if len(content) > _MAX_BYTES:
        raise UserError(f"{path} has more than {_MAX_BYTES >> 20} MiB; give the right file")
    return content


def _stamp(path: Path) -> _Stamp:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
