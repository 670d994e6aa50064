"""Notices that the source of the models has changed."""

from collections.abc import Callable


class Changes:
    """Tells a change once it has settled: something that is still being copied looks different at each poll."""

    def __init__(self, stamp: Callable[[], object]) -> None:
        """Looks once, blocking.

        Args:
            stamp: gives something that differs whenever the source does; raises `OSError` where it cannot be looked at.
        """
        self._stamp = stamp
        self._seen = self._look()
        # Told once at the beginning: whoever asks may have looked at the source before this did.
        self._told: object = None

    def poll(self) -> bool:
        """Looks again, blocking: whether there is a change that has not been told, and was there at the last look."""
        now = self._look()
        settled, self._seen = now == self._seen, now
        if not settled or now == self._told:
            return False
        self._told = now
        return True

    def _look(self) -> object:
        try:
            return self._stamp()
        except OSError as error:
            return str(error)
