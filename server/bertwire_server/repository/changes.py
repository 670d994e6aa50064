"""Detection of changes in the model source."""

from collections.abc import Callable


class Changes:
    """Reports a change once it has settled: files that are still being copied differ between polls."""

    def __init__(self, stamp: Callable[[], object]) -> None:
        """Take the first stamp, blocking.

        Args:
            stamp: returns a value that changes with the source; raises `OSError` where that is unreadable.
        """
        self._stamp = stamp
        self._last = self._current()
        # The first stamp counts as a change: the caller may have scanned the source before it.
        self._reported: object = None

    def poll(self) -> bool:
        """Take a stamp, blocking; return whether it is new and equal to the last poll's."""
        now = self._current()
        settled, self._last = now == self._last, now
        if not settled or now == self._reported:
            return False
        self._reported = now
        return True

    def _current(self) -> object:
        try:
            return self._stamp()
        except OSError as error:
            return str(error)
