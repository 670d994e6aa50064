"""Who is let into the queue: a call that cannot be answered in time is refused before any work goes into it."""

from math import inf
from time import perf_counter

from bertwire_server.errors import DeadlineTooShort, Expired, Overloaded
from bertwire_server.model.observer import Observer
from bertwire_server.model.pace import Pace
from bertwire_server.model.queue import Queue, order_by
from bertwire_server.query import Priority

_MIN_RETRY_SECONDS, _MAX_RETRY_SECONDS = 0.01, 10.0


class Admission:
    """Texts run by priority, then by deadline, and a call of many texts takes turns with those of few.

    An idle model takes any call. Behind others a call is refused where the queue ahead of it, its own batch and one
    batch more do not fit its deadline.

    Attributes:
        coming: texts of calls that were admitted and are being tokenized.
        until: when the batch that runs is expected to end; 0 where none does.
    """

    def __init__(self, queue: Queue, pace: Pace, room: int, observer: Observer) -> None:
        """Admit to a queue.

        Args:
            queue: the queue.
            pace: says how long a batch runs.
            room: most texts in the queue and on their way into it.
            observer: told who is refused.
        """
        self._queue, self._pace, self._room, self._observer = queue, pace, room, observer
        self.coming, self.until = 0, 0.0

    @property
    def waiting(self) -> int:
        """Texts in the queue, and on their way into it."""
        return len(self._queue) + self.coming

    def admit(self, texts: int, tokens: float, priority: Priority, deadline: float) -> None:
        """Refuse a call that has no room or cannot be answered in time.

        Args:
            texts: how many.
            tokens: about how many they have together.
            priority: its class.
            deadline: when its answer is of no use any more, on the clock of `perf_counter`; infinite for never.

        Raises:
            Overloaded: there is no room, or it would come too late.
            Expired: its deadline has passed.
        """
        now, waiting = perf_counter(), self.waiting
        if waiting + texts > self._room:
            self._observer.turned_away("queue_full", texts)
            retry = self._pace.full_seconds
            raise Overloaded(f"{waiting} texts are waiting already; slow down and try again", _retry(retry))
        if deadline <= now:
            self._observer.expired(texts)
            raise Expired("the deadline passed before the request was read")
        if deadline == inf or not (self.until or waiting):
            return
        ahead = self._pace.seconds(self._queue.tokens_before(texts, priority, order_by(deadline, now)))
        full = self._pace.full_seconds
        end = max(now, self.until) + ahead + max(full, self._pace.seconds(tokens)) + full
        if end > deadline:
            self._observer.turned_away("deadline", texts)
            reason = "the answer cannot be ready within the deadline; slow down, or allow more time"
            raise DeadlineTooShort(reason, _retry(end - deadline))


def _retry(seconds: float) -> float:
    """Return when trying again makes sense, in seconds; `seconds` is by how much a call was too late."""
    return min(max(seconds, _MIN_RETRY_SECONDS), _MAX_RETRY_SECONDS)
