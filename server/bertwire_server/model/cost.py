"""Predicts how long a batch runs, and how long a queue takes, from how long the last ones did."""

from math import exp

_KEEP = 0.95  # of a run's weight, at each further run
# The pace is that of about so long, however many runs that is: of some very short ones each may have waited for what
# will not come again. Before any, it is as if the model had run for so long as it is expected to.
_PACE_SECONDS, _UNPACED_SECONDS = 0.3, 0.1
# One run is taken for no more than so many times as slow as those before it, whatever it waited for.
_SLOWER = 4
_MIN_SPREAD = 1e-3


class Cost:
    """A straight line through recent runs: seconds over computed tokens, by least squares with forgetting.

    A run costs something for itself and something for each token. Nothing is predicted before a run was seen.
    """

    def __init__(self) -> None:
        self._weight = self._x = self._y = self._xx = self._xy = 0.0
        self._run = self._token = self._error = 0.0
        self._paced_tokens = self._paced_seconds = 0.0

    def add_pace(self, tokens: int, seconds: float) -> None:
        """Learns how long a run took with all that comes in between, from the end of the run before to its own."""
        if not self._paced_seconds and (expected := self.expected(tokens)):
            self._paced_tokens, self._paced_seconds = _UNPACED_SECONDS * tokens / expected, _UNPACED_SECONDS
        if self._paced_seconds:
            before = tokens * self._paced_seconds / self._paced_tokens
            keep, seconds = exp(-seconds / _PACE_SECONDS), min(seconds, _SLOWER * before)
        else:
            keep = 0.0
        self._paced_tokens = keep * self._paced_tokens + tokens
        self._paced_seconds = keep * self._paced_seconds + seconds

    def add(self, tokens: int, seconds: float) -> None:
        """Learns from a run of so many computed tokens."""
        if self._weight:
            self._error = _KEEP * self._error + (1 - _KEEP) * abs(seconds - self.expected(tokens))
        self._weight = _KEEP * self._weight + 1
        self._x = _KEEP * self._x + tokens
        self._y = _KEEP * self._y + seconds
        self._xx = _KEEP * self._xx + tokens * tokens
        self._xy = _KEEP * self._xy + tokens * seconds
        spread = self._weight * self._xx - self._x**2
        slope = (self._weight * self._xy - self._x * self._y) / spread if spread > _MIN_SPREAD * self._xx else 0.0
        base = (self._y - slope * self._x) / self._weight
        if slope > 0 and base >= 0:
            self._run, self._token = base, slope
            return
        # Runs of nearly one size say nothing of the parts: these stay as they were to each other, or without any before
        # all of it is counted by the token.
        before = self._run * self._weight + self._token * self._x
        share = self._y / before if before else 0.0
        self._run, self._token = (share * self._run, share * self._token) if before else (0.0, self._y / self._x)

    def expected(self, tokens: float, runs: int = 1) -> float:
        """The time of so many runs that compute so many tokens together."""
        return self._run * runs + self._token * tokens

    def seconds(self, tokens: float, runs: int = 1) -> float:
        """The same on the safe side, by the usual error."""
        return self.expected(tokens, runs) + self._error

    def queue_seconds(self, tokens: float, runs: int) -> float:
        """How long a queue of so many tokens takes.

        By full batches, or as things have been going lately, where that is slower: batches may be small for the sake of
        deadlines, and the processor has other work.
        """
        pace = self._paced_seconds / self._paced_tokens if self._paced_tokens else 0.0
        return max(self.seconds(tokens, runs), pace * tokens)
