"""Predicts how long a batch runs, from how long the last ones ran."""

_KEEP = 0.95  # of a run's weight, at each further run
_MIN_SPREAD = 1e-3


class Cost:
    """A straight line through recent runs: seconds over computed tokens, by least squares with forgetting.

    A run costs something for itself and something for each token. Nothing is predicted before a run was seen.
    """

    def __init__(self) -> None:
        self._weight = self._x = self._y = self._xx = self._xy = 0.0
        self._run = self._token = self._error = 0.0

    def add(self, tokens: int, seconds: float) -> None:
        """Learns from a run of so many computed tokens."""
        if self._weight:
            self._error = _KEEP * self._error + (1 - _KEEP) * abs(seconds - self._line(tokens))
        self._weight = _KEEP * self._weight + 1
        self._x = _KEEP * self._x + tokens
        self._y = _KEEP * self._y + seconds
        self._xx = _KEEP * self._xx + tokens * tokens
        self._xy = _KEEP * self._xy + tokens * seconds
        spread = self._weight * self._xx - self._x**2
        slope = (self._weight * self._xy - self._x * self._y) / spread if spread > _MIN_SPREAD * self._xx else 0.0
        base = (self._y - slope * self._x) / self._weight
        # Runs of nearly one size say nothing of the parts: then all of it is counted by the token.
        sane = slope > 0 and base >= 0
        self._run, self._token = (base, slope) if sane else (0.0, self._y / self._x)

    def seconds(self, tokens: float, runs: int = 1) -> float:
        """The time of so many runs that compute so many tokens together, on the safe side by their usual error."""
        return self._run * runs + self._token * tokens + self._error

    def _line(self, tokens: int) -> float:
        return self._run + self._token * tokens
