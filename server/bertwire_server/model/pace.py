"""How long batches run, learned from those that did, and how many tokens one may compute."""

# Share of the past that counts at each further batch. Halved, one disturbed batch decides; doubled, a processor that
# became slower is noticed after a second and not after a quarter.
_KEEP = 0.9
# How fast the longest recent batch is forgotten, at each further one.
_FULL_KEEP = 0.98


class Pace:
    """Seconds a token, and the longest recent batch. Written by the thread that runs, read by any.

    Attributes:
        full_seconds: about how long a full batch runs.
    """

    def __init__(self, batch_seconds: float, most_tokens: int) -> None:
        """Know nothing yet: every prediction is 0 seconds until a batch was seen.

        Args:
            batch_seconds: how long a batch should run at most.
            most_tokens: tokens that a batch may compute in any case.
        """
        self._target, self.most_tokens = batch_seconds, most_tokens
        self._tokens = self._seconds = 0.0
        self.full_seconds = 0.0

    def add(self, tokens: int, seconds: float) -> None:
        """Learn from a batch that computed so many tokens."""
        self._tokens, self._seconds = _KEEP * self._tokens + tokens, _KEEP * self._seconds + seconds
        self.full_seconds = max(seconds, _FULL_KEEP * self.full_seconds)

    def seconds(self, tokens: float) -> float:
        """Predict how long so many tokens take, in batches like the last ones."""
        return tokens * self._seconds / self._tokens if self._tokens else 0.0

    @property
    def batch_tokens(self) -> int:
        """The most tokens that a batch may compute to run no longer than it should; at least 1."""
        if not self._seconds:
            return self.most_tokens
        return max(1, min(self.most_tokens, int(self._target * self._tokens / self._seconds)))
