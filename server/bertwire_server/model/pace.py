"""Pace: run time per token, learned from past batches, and the batch size that follows from it."""

# Weight of past batches per new one. Halved, a single disturbed batch decides; at 0.95, a slower processor is noticed
# after a second instead of a quarter.
_KEEP = 0.9


class Pace:
    """Seconds per token, by recent batches. One thread writes, any may read."""

    def __init__(self, batch_seconds: float, most_tokens: int) -> None:
        """Create an empty pace, whose estimates are 0 seconds until the first batch.

        Args:
            batch_seconds: longest batch run.
            most_tokens: most tokens of a batch, whatever the pace.
        """
        self._target, self.most_tokens = batch_seconds, most_tokens
        self._tokens = self._seconds = 0.0

    def add(self, tokens: int, seconds: float) -> None:
        """Learn from a batch that computed `tokens` tokens."""
        self._tokens, self._seconds = _KEEP * self._tokens + tokens, _KEEP * self._seconds + seconds

    def seconds(self, tokens: float) -> float:
        """Estimate the run time of `tokens` tokens in batches like the last ones."""
        return tokens * self._seconds / self._tokens if self._tokens else 0.0

    @property
    def batch_tokens(self) -> int:
        """Return the most tokens of a batch within the run time limit; at least 1."""
        if not self._seconds:
            return self.most_tokens
        return max(1, min(self.most_tokens, int(self._target * self._tokens / self._seconds)))

    @property
    def full_seconds(self) -> float:
        """Estimate the run time of a full batch."""
        return self.seconds(self.batch_tokens)
