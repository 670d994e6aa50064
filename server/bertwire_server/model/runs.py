"""Runs of batches in the thread of a model."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import inf
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from bertwire_runtime.layouts import Layout
from bertwire_runtime.tokenizer import Encoded
from bertwire_server.errors import ModelFailed
from bertwire_server.model.pace import Pace
from bertwire_server.model.waiting import Batch

_log = logging.getLogger(__name__)
_FAILED = "the model failed on texts[{}]; the server's log has the cause"
_NOT_FINITE = "the model gives no finite numbers for texts[{}]"

Logits = NDArray[np.float32]
# Runs one batch, blocking: float32 [labels] or [tokens, labels] per text.
Run = Callable[[Sequence[Encoded]], Sequence[Logits]]


@dataclass(slots=True)
class Totals:
    """Counts of runs so far.

    Attributes:
        tokens: tokens without padding.
        computed: computed tokens, padding included.
        by_size: by number of texts, the count of batches and their seconds.
    """

    batches: int = 0
    texts: int = 0
    tokens: int = 0
    computed: int = 0
    by_size: dict[int, tuple[int, float]] = field(default_factory=dict)

    def add(self, lengths: Sequence[int], computed: int, seconds: float) -> None:
        """Count a batch of texts with these lengths."""
        self.batches += 1
        self.texts += len(lengths)
        self.tokens += sum(lengths)
        self.computed += computed
        count, before = self.by_size.get(len(lengths), (0, 0.0))
        self.by_size[len(lengths)] = (count + 1, before + seconds)


@dataclass(frozen=True, slots=True)
class Outcome:
    """A finished batch.

    Attributes:
        batch: the batch; without texts where only calls that had expired were found.
        computed: computed tokens, padding included.
        start: of the run, on the clock of `perf_counter`.
        seconds: duration of the run.
        rows: each text's logits, or the error for its caller.
    """

    batch: Batch
    computed: int
    start: float
    seconds: float
    rows: Sequence[Logits | ModelFailed]


class Runs:
    """Runs batches and learns their pace. `run` belongs to one thread, the properties to any."""

    def __init__(self, run: Run, layout: Layout, pace: Pace) -> None:
        """Create it.

        Args:
            run: runs a batch.
            layout: determines the computed tokens of a batch.
            pace: learns from the runs.
        """
        self._run, self._layout, self._pace = run, layout, pace
        # Seconds of finished runs and start of the current one, in one value because other threads read it.
        self._busy: tuple[float, float | None] = (0.0, None)
        self._until, self._ended_at = 0.0, -inf

    @property
    def busy_seconds(self) -> float:
        """Return the seconds of runs so far, the current one included."""
        ended, since = self._busy
        return ended if since is None else ended + perf_counter() - since

    @property
    def since(self) -> float | None:
        """Return the start of the current run on the clock of `perf_counter`; None without one."""
        return self._busy[1]

    @property
    def until(self) -> float:
        """Estimate the end of the current batch on the clock of `perf_counter`; 0 without one."""
        return self._until

    def run(self, batch: Batch) -> Outcome:
        """Run a batch; never raises for a failure of the model."""
        start = perf_counter()
        if not batch.members:
            return Outcome(batch, 0, start, 0.0, [])
        computed = self._layout.computed(len(batch.members), batch.longest, batch.tokens)
        self._until = start + self._pace.seconds(computed)
        rows = self._rows(batch.texts)
        self._until = 0.0
        end = perf_counter()
        # From the end of the last batch, where this one has waited for that: threads share the core.
        self._pace.add(computed, end - max(self._ended_at, min(call.arrived for call, _ in batch.members)))
        self._ended_at = end
        told = [_told(row, call.told_as(place)) for row, (call, place) in zip(rows, batch.members, strict=True)]
        return Outcome(batch, computed, start, end - start, told)

    def _rows(self, texts: list[Encoded]) -> list[Logits | Exception]:
        """Run texts; on failure bisect them until a failing text is alone."""
        start = perf_counter()
        self._busy = (self._busy[0], start)
        try:
            rows = list[Logits | Exception](self._run(texts))
            if len(rows) != len(texts):
                raise ValueError(f"the model gave {len(rows)} rows of logits for {len(texts)} texts")
            return rows
        except Exception as error:
            if len(texts) == 1:
                _log.exception("the model failed on a text of %d tokens", len(texts[0].ids))
                return [error]
            _log.warning("a batch of %d texts failed (%s); running its halves", len(texts), type(error).__name__)
        finally:
            self._busy = (self._busy[0] + perf_counter() - start, None)
        middle = (len(texts) + 1) // 2
        return self._rows(texts[:middle]) + self._rows(texts[middle:])


def _told(row: Logits | Exception, place: int) -> Logits | ModelFailed:
    """Return a text's logits, or the error for its caller; `place` is its index in the caller's message."""
    if isinstance(row, Exception):
        return ModelFailed(_FAILED.format(place))
    return row if np.isfinite(row).all() else ModelFailed(_NOT_FINITE.format(place))
