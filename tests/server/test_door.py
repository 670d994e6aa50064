"""Who is let into a queue, by a clock that the test sets."""

import asyncio
from math import inf

import pytest

from bertwire_runtime.layouts import Layout
from bertwire_runtime.tokenizer import Encoded
from bertwire_server.errors import Expired, Overloaded
from bertwire_server.model import door as module
from bertwire_server.model.cost import Cost
from bertwire_server.model.door import Door
from bertwire_server.model.queue import Batch, BatchLimits, Call, Queue
from bertwire_server.query import Priority
from observing import Observer

SECONDS_A_TOKEN = 0.01
LIMITS = BatchLimits(tokens=1000, texts=4, delay=0, waiting=100)


class Clock:
    """Stands still unless told."""

    now = 100.0

    def __call__(self) -> float:
        """The time in seconds."""
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The door's clock."""
    clock = Clock()
    monkeypatch.setattr(module, "perf_counter", clock)
    return clock


class Before:
    """A door, and what lies behind it; a token takes 10 ms."""

    def __init__(self) -> None:
        self.cost, self.observer = Cost(), Observer()
        for tokens in (10, 20):
            self.cost.add(tokens, tokens * SECONDS_A_TOKEN)
        self.queue = Queue(LIMITS, Layout("packed", 2, 0, by_token=False), self.cost)
        self.door = Door(self.queue, self.cost, LIMITS.waiting, self.observer)

    def run(self, clock: Clock, texts: int) -> None:
        """A batch of texts of 10 tokens begins to run."""
        batch = Batch()
        for _ in range(texts):
            batch.add(self.call(clock), 0)
        self.door.batch, self.door.until = batch, clock.now + texts * 10 * SECONDS_A_TOKEN

    def call(self, clock: Clock, deadline: float = inf, priority: Priority = Priority.NORMAL) -> Call:
        """A call of one text of 10 tokens."""
        future = asyncio.get_running_loop().create_future()
        return Call([Encoded([1] * 10, [0] * 10, truncated=False)], priority, deadline, clock.now, future)

    def wait(self, clock: Clock, calls: int) -> None:
        """So many calls wait, for a second each."""
        for _ in range(calls):
            self.queue.add(self.call(clock, clock.now + 1))

    def sheds(self, remaining: float) -> bool:
        """Whether it refuses a call unread."""
        try:
            self.door.shed(remaining)
        except Overloaded:
            return True
        return False


async def test_sheds_by_what_is_ahead(clock: Clock) -> None:
    """A call that nothing is known of but its patience is let in where that is enough for the run and the queue."""
    before = Before()
    assert not before.sheds(0.001)  # nothing is ahead
    clock.now += 1  # long enough to have been read
    before.run(clock, 2)
    before.wait(clock, 2)
    assert before.sheds(0.2)
    assert not before.sheds(60)
    with pytest.raises(Expired):
        before.door.shed(0)
    assert before.observer.counts == {"deadline": 1, "expired": 1}


async def test_some_time_is_left_for_what_takes_longer(clock: Clock) -> None:
    """A tenth of all that a call of a later batch waits for, and its third for company: here 0.6 s make 1.05."""
    before = Before()
    before.run(clock, texts=1)
    for _ in range(4):
        before.queue.add(before.call(clock, clock.now + 0.9))
    assert before.sheds(1.0)
    assert not before.sheds(1.1)


async def test_calls_that_come_together_are_ahead_of_each_other(clock: Clock) -> None:
    """Each that is let in unread takes up time, until it is read or ends, or nothing is heard of it for a while."""
    before = Before()
    before.run(clock, 1)
    first = before.door.shed(1.0)
    assert 4 <= sum(not before.sheds(1.0) for _ in range(20)) <= 9
    assert before.sheds(1.0)
    # Of calls that were read otherwise nothing is known here.
    before.door.admit(1, 10, Priority.NORMAL, inf)
    assert before.sheds(1.0)
    first()
    first()
    assert not before.sheds(1.0)
    assert before.sheds(1.0)
    clock.now += 0.06
    before.door.until = clock.now + 0.1
    assert not before.sheds(1.0)


async def test_unread_calls_that_can_wait_are_not_ahead(clock: Clock) -> None:
    """Of calls that have not been read, those with later deadlines do not stand in the way of one in a hurry."""
    before = Before()
    before.run(clock, 1)
    patient = [before.door.shed(60) for _ in range(8)]
    assert not before.sheds(0.3)
    assert before.sheds(0.3)
    for was_read in patient:
        was_read()
    assert before.sheds(0.3)


async def test_calls_of_the_next_batch_need_no_more_time_than_it_takes(clock: Clock) -> None:
    """Callers with little time share one: each is let in as long as the batch that it would make is ready by then."""
    before = Before()
    assert [before.sheds(1.0) for _ in range(6)] == [False, False, False, True, True, True]
    # Behind full batches, 0.9 s with its own, a call must leave time for those that share its own with it.
    later = Before()
    later.wait(clock, 8)
    assert later.sheds(1.2)
    assert not later.sheds(1.6)


async def test_late_calls_are_dropped_one_by_one(clock: Clock) -> None:
    """In danger, as many as it takes for the others to share a batch; one that is in time alone stays."""
    before = Before()
    calls = [before.call(clock, clock.now + seconds) for seconds in (0.15, 0.25, 0.35)]
    for call in calls:
        before.queue.add(call)
    assert before.queue.late(clock.now) == calls[:1]
    before.queue.forget(calls[2])
    assert before.queue.late(clock.now) == calls[:1]
    before.queue.forget(calls[0])
    assert before.queue.late(clock.now) == []


@pytest.mark.parametrize("deadline", [inf, 100.15])
async def test_what_comes_later_puts_no_call_in_danger(clock: Clock, deadline: float) -> None:
    """Texts of a lower priority, or without a deadline, have their turn after a call: it is not dropped for them."""
    before = Before()
    hurried = before.call(clock, clock.now + 0.25, Priority.HIGH)
    before.queue.add(hurried)
    for _ in range(20):
        before.queue.add(before.call(clock, deadline, Priority.LOW))
        before.queue.add(before.call(clock, priority=Priority.HIGH))
    assert hurried not in before.queue.late(clock.now)


async def test_patient_calls_hide_no_danger(clock: Clock) -> None:
    """Of many that share a deadline, those are dropped that no full batch could answer, also beside a patient one."""
    before = Before()
    for _ in range(10):
        before.queue.add(before.call(clock, clock.now + 0.35))
    dropped = before.queue.late(clock.now)
    assert len(dropped) == 7
    before.queue.add(before.call(clock))
    assert before.queue.late(clock.now) == dropped


async def test_some_are_read_all_the_same(clock: Clock) -> None:
    """Of those that would be refused unread one in eight is let in, but none within 50 ms of the one before."""
    before = Before()
    before.run(clock, 4)
    assert [before.sheds(0.001) for _ in range(16)].count(False) == 1
    clock.now += 0.06
    before.run(clock, 4)
    assert [before.sheds(0.001) for _ in range(16)].count(False) == 1


async def test_calls_of_high_priority_are_reckoned_with(clock: Clock) -> None:
    """Once one has been seen, nothing is refused unread for a minute that could be answered if it were another."""
    before = Before()
    before.run(clock, 1)
    before.wait(clock, 12)
    assert before.sheds(1.5)
    before.door.admit(1, 10, Priority.HIGH, inf)
    assert not before.sheds(1.5)
    clock.now += 61
    before.run(clock, 1)
    assert before.sheds(1.5)


async def test_arrivals_may_wait_while_the_model_runs(clock: Clock) -> None:
    """At most 6 ms, and no longer than until shortly before the run ends; not at all where the model is idle."""
    before = Before()
    assert before.door.patience() == 0
    before.run(clock, 4)
    assert before.door.patience() == 0.006
    clock.now = before.door.until - 0.005
    assert before.door.patience() == pytest.approx(0.003)
    clock.now = before.door.until + 1
    assert before.door.patience() < 0
