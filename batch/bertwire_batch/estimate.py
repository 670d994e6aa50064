"""How long a job will take, said once after its first seconds."""

import time
from datetime import timedelta

# Seconds of answers before the estimate. Halved, the first calls, which are slow, count twice as much.
_SECONDS = 5.0
# Share of the bytes that has to be read before it. Halved, a first slow batch makes days of minutes.
_SHARE = 0.01


class Estimate:
    """The time left, by how fast rows are read while texts are answered; those that were answered before do not count.

    Args:
        rows: rows of all inputs, as far as is known.
        size: bytes of all inputs.
    """

    def __init__(self, rows: float, size: float) -> None:
        self._rows, self._size = rows, max(size, 1)
        self._began: tuple[float, float] | None = None
        self._said = False

    def line(self, position: float) -> str | None:
        """Return the line to print when so many bytes are read and some texts answered; None except once."""
        now = time.monotonic()
        if self._began is None:
            self._began = now, position
        seconds, done = now - self._began[0], (position - self._began[1]) / self._size
        if self._said or seconds < _SECONDS or done < _SHARE:
            return None
        self._said = True
        left = 1 - position / self._size
        clock = timedelta(seconds=round(seconds * left / done))
        return f"about {self._rows * left:,.0f} rows are left at {self._rows * done / seconds:,.0f} rows/s: {clock}"
