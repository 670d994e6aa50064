"""Admission: refuse a call that cannot meet its deadline before any work is done for it."""

from math import inf
from time import perf_counter

from bertwire_server.errors import DeadlineTooShort, Expired, Overloaded
from bertwire_server.model.observer import Observer
from bertwire_server.model.pace import Pace
from bertwire_server.model.queue import Queue
from bertwire_server.model.runs import Runs
from bertwire_server.model.waiting import order_by
from bertwire_server.query import Priority

_MIN_RETRY_SECONDS, _MAX_RETRY_SECONDS = 0.01, 10.0


class Admission:
    """Admits calls to the queue.

    An idle model takes any call. Otherwise a call is refused where the queue ahead of it, its own batch and one more
    full batch do not fit its deadline.

    Attributes:
        coming: texts of admitted calls that are being tokenized.
    """

    def __init__(self, queue: Queue, runs: Runs, pace: Pace, room: int, observer: Observer) -> None:
        """Create the admission of a queue.

        Args:
            queue: the queue.
            runs: knows the end of the running batch.
            pace: estimates run times.
            room: most texts in the queue or being tokenized for it.
            observer: notified of refusals.
        """
        self._queue, self._runs, self._pace = queue, runs, pace
        self._room, self._observer = room, observer
        self.coming = 0

    @property
    def waiting(self) -> int:
        """Return the texts in the queue or being tokenized for it."""
        return len(self._queue) + self.coming

    def admit(self, texts: int, tokens: float, priority: Priority, deadline: float) -> None:
        """Refuse a call that exceeds the queue's room or its deadline.

        Args:
            texts: number of texts.
            tokens: estimate of their total tokens.
            priority: its priority.
            deadline: on the clock of `perf_counter`; infinite for none.

        Raises:
            Overloaded: the queue is full, or the answer would be late.
            Expired: the deadline has passed.
        """
        now, waiting = perf_counter(), self.waiting
        if waiting + texts > self._room:
            self._observer.turned_away("queue_full", texts)
            retry = self._pace.full_seconds
            raise Overloaded(f"{waiting} texts are waiting already; slow down and try again", _retry(retry))
        if deadline <= now:
            self._observer.expired(texts)
            raise Expired("the deadline passed before the request was read")
        if deadline == inf or not (self._runs.until or waiting):
            return
        ahead = self._pace.seconds(self._queue.tokens_before(texts, priority, order_by(deadline, now)))
        full = self._pace.full_seconds
        end = max(now, self._runs.until) + ahead + max(full, self._pace.seconds(tokens)) + full
        if end > deadline:
            self._observer.turned_away("deadline", texts)
            reason = "the answer cannot be ready within the deadline; slow down, or allow more time"
            raise DeadlineTooShort(reason, _retry(end - deadline))


def _retry(seconds: float) -> float:
    """Return the retry delay of a call that was late by `seconds`."""
    return min(max(seconds, _MIN_RETRY_SECONDS), _MAX_RETRY_SECONDS)
