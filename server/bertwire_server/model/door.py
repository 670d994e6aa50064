"""Who is let into the queue: a call that cannot be answered in time is refused before any work goes into it."""

from bisect import bisect, bisect_left, insort
from collections.abc import Callable
from functools import partial
from math import inf
from time import perf_counter

from bertwire_server.errors import DeadlineTooShort, Expired, Overloaded
from bertwire_server.model.cost import Cost
from bertwire_server.model.observer import Observer
from bertwire_server.model.queue import REPLY_SECONDS, Batch, Newcomer, Queue
from bertwire_server.query import Priority

# A queue that is filled up to the last moment of its deadlines misses those for which something takes a little longer.
_CAUTION = 1.1
# Most of the time until its deadline that a call must leave for texts that come later.
_COMPANY = 1 / 3
# Of the calls that would be refused unread, one in so many is read all the same, but no more often than this; and for
# how long after a call of high priority such calls are reckoned with.
_SEEN_OF_SHED, _SEEN_SECONDS, _HIGH_SECONDS = 8, 0.05, 60.0
# A call that was let in unread is reckoned with for so long, if nothing more is heard of it.
_READING_SECONDS = 0.05
# A call can wait beside one that has so many times less time.
_MUCH_LONGER = 2
# Of a text, before any was seen.
_USUAL_TOKENS = 32.0
# While the model runs, arrivals may wait to be looked at together: for at most so long, and until so long before it
# ends, so that the next batch is ready by then.
_GATHER_SECONDS, _AHEAD_SECONDS = 0.006, 0.002
_EXPIRED = "the deadline passed before the request was read"
_NOT_IN_TIME = "the answer cannot be ready within the deadline; slow down, or allow more time"
_MIN_RETRY_SECONDS, _MAX_RETRY_SECONDS = 0.01, 10.0


class Door:
    """The way into one queue.

    Attributes:
        batch: the one that runs; empty where none does.
        until: when that is expected to end.
        on_the_way: texts that were let in and are being tokenized.
    """

    def __init__(self, queue: Queue, cost: Cost, room: int, observer: Observer) -> None:
        """Lets in whoever can be answered.

        Args:
            queue: the queue.
            cost: says how long a run takes.
            room: most texts in the queue and on their way.
            observer: told whom it turns away.
        """
        self._queue, self._cost, self._room, self._observer = queue, cost, room, observer
        self.batch, self.until = Batch(), 0.0
        self.on_the_way, self._tokenize_seconds = 0, 0.0
        # Calls that were let in unread, by number: when each came, and its deadline; and the deadlines in order.
        self._reading, self._deadlines = dict[int, tuple[float, float]](), list[float]()
        self._let_in, self._shed_count, self._seen_at, self._high_at = 0, 0, -inf, -inf
        self._tokens = _USUAL_TOKENS

    @property
    def waiting(self) -> int:
        """Texts in the queue, and on their way into it."""
        return len(self._queue) + self.on_the_way

    def patience(self) -> float:
        """For how many seconds arrivals may wait to be looked at; any thread may ask.

        Looking at one makes the processor forget what the model just computed with, and the other way round; so several
        together cost little more than one.
        """
        return min(_GATHER_SECONDS, self.until - perf_counter() - _AHEAD_SECONDS) if self.batch.members else 0.0

    def admit(
        self, texts: int, tokens: float, priority: Priority, deadline: float, tokenize_seconds: float = 0.0
    ) -> None:
        """Refuses a call that has no room or cannot be answered in time; see `Scheduler.admit`."""
        now = perf_counter()
        if priority == Priority.HIGH:
            self._high_at = now
        if self.waiting + texts > self._room:
            self._observer.turned_away("queue_full", texts)
            retry = _retry(self._cost.seconds(self._queue.tokens) / 2)
            raise Overloaded(f"{self.waiting} texts are waiting already; slow down and try again", retry)
        if deadline <= now:
            self._observer.expired(texts)
            raise Expired(_EXPIRED)
        # Nothing ahead: run it, or nobody would learn that the model has become faster again.
        if deadline == inf or not (self.batch.members or self.waiting):
            return
        late = self._late(Newcomer(texts, tokens, priority, deadline - tokenize_seconds), now)
        if late > 0:
            self._observer.turned_away("deadline", texts)
            raise DeadlineTooShort(_NOT_IN_TIME, _retry(late))

    def shed(self, remaining: float) -> Callable[[], object]:
        """Refuses a call that nothing is known of but how long its caller will wait, in seconds.

        As a call of one text of usual length and normal priority, or high where calls of high priority have been seen
        lately. One in eight is let through to be seen, if the one before was not just now.

        Returns:
            to be called when the call has been read, or has ended: until then it counts as one that is ahead.

        Raises:
            Overloaded: it would come too late.
            Expired: its deadline has passed.
        """
        if remaining <= 0:
            self._observer.expired(1)
            raise Expired(_EXPIRED)
        now = perf_counter()
        self._forget_slow(now)
        known = len(self._queue) + len(self.batch.members)
        if known:
            self._tokens = (self._queue.tokens + self.batch.tokens) / known
        deadline = now + remaining
        if (known or self._reading) and not self._is_sample(now):
            priority = Priority.HIGH if now - self._high_at < _HIGH_SECONDS else Priority.NORMAL
            # Those still being read are ahead, but for those that can wait; of several that came at once, the first
            # would else let in the last. Also one with a little more time: it was let in, and must not become late.
            unread = bisect(self._deadlines, now + _MUCH_LONGER * remaining)
            late = self._late(Newcomer(1, self._tokens, priority, deadline), now, unread)
            if late > 0:
                self._observer.turned_away("deadline", 1)
                raise DeadlineTooShort(_NOT_IN_TIME, _retry(late))
        self._let_in += 1
        self._reading[self._let_in] = now, deadline
        insort(self._deadlines, deadline)
        return partial(self._was_read, self._let_in)

    def _was_read(self, number: int) -> None:
        """Reckons no more with a call as one that nothing is known of; once or several times."""
        if (found := self._reading.pop(number, None)) is not None:
            del self._deadlines[bisect_left(self._deadlines, found[1])]

    def _forget_slow(self, now: float) -> None:
        """The same for calls that sent headers and then nothing."""
        while self._reading and now - self._reading[first := next(iter(self._reading))][0] > _READING_SECONDS:
            self._was_read(first)

    def _is_sample(self, now: float) -> bool:
        self._shed_count += 1
        if self._shed_count % _SEEN_OF_SHED or now - self._seen_at < _SEEN_SECONDS:
            return False
        self._seen_at = now
        return True

    def _late(self, new: Newcomer, now: float, unread: int = 0) -> float:
        """By how many seconds a call that comes now would miss its deadline; negative where it would keep it.

        Its last text will share a batch with texts that come later, and must leave time for them: or batches get ever
        smaller under load, just when large ones are needed.
        """
        left, full = new.deadline - now, self._queue.full_seconds()
        ahead = self._tokenize_seconds + max(0.0, self.until - now) + REPLY_SECONDS
        place = self._queue.place(new, now, unread)
        if place.runs == 1:
            return ahead + self._cost.expected(place.tokens) - left
        ahead += self._cost.queue_seconds(place.tokens, place.runs)
        return _CAUTION * (ahead + min(full, _COMPANY * left)) - left

    def expect(self, texts: int, seconds: float) -> None:
        """Texts are on their way (less where negative), and tokenizing them takes about so long; see `Scheduler`."""
        self.on_the_way += texts
        self._tokenize_seconds = self._tokenize_seconds + seconds if self.on_the_way else 0.0


def _retry(seconds: float) -> float:
    """When trying again makes sense, in seconds; `seconds` is by how much a call was too late."""
    return min(max(seconds, _MIN_RETRY_SECONDS), _MAX_RETRY_SECONDS)
