"""The scheduler by itself, in front of an engine that the test lets run."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from math import inf
from time import perf_counter

import numpy as np
import pytest
from numpy.typing import NDArray

from bertwire_runtime.layouts import Layout
from bertwire_runtime.tokenizer import Encoded
from bertwire_server.errors import Expired, ModelFailed, NotReady, Overloaded
from bertwire_server.model.pace import Pace
from bertwire_server.model.scheduler import Scheduler
from bertwire_server.query import Priority
from observing import Observer

PADDED, PACKED = Layout("padded", 0, 0, by_token=False), Layout("packed", 2, 0, by_token=False)


class Engine:
    """Answers each text with its first token; runs a batch only when it is let through."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = threading.Semaphore(0)
        self.entered = threading.Semaphore(0)

    def run(self, texts: Sequence[Encoded]) -> list[NDArray[np.float32]]:
        """Record the batch; a text that starts with token 13 breaks it, one with token 17 has no finite answer."""
        names = [text.ids[0] for text in texts]
        self.batches.append(names)
        self.entered.release()
        self.gate.acquire()
        if 13 in names:
            raise RuntimeError("13")
        if 14 in names:
            raise SystemExit
        return [np.array([np.nan if name == 17 else name], dtype=np.float32) for name in names]

    def open(self) -> None:
        """Let every batch through from now on."""
        self.gate.release(1_000_000)

    async def until_running(self) -> None:
        """Wait until a batch has begun to run."""
        await asyncio.to_thread(self.entered.acquire)


Begin = Callable[..., Scheduler]


def text(name: int, length: int = 3) -> Encoded:
    """A text of `length` tokens that starts with token `name`."""
    return Encoded([name] * length, [0] * length, truncated=False)


@pytest.fixture
def engine() -> Engine:
    """A closed engine."""
    return Engine()


@pytest.fixture
def observer() -> Observer:
    """Nothing seen yet."""
    return Observer()


@pytest.fixture
async def begin(engine: Engine, observer: Observer) -> AsyncIterator[Begin]:
    """Start a scheduler in front of the engine; it is stopped when the test ends."""
    started: list[Scheduler] = []

    def make(
        layout: Layout = PACKED,
        tokens: int = 1000,
        texts: int = 4,
        room: int = 100,
        hang: float = 60,
        token_seconds: float = 0.0,
        seen_tokens: int = 3,
        batch_seconds: float = 1e9,
    ) -> Scheduler:
        pace = Pace(batch_seconds, tokens)
        if token_seconds:
            pace.add(seen_tokens, seen_tokens * token_seconds)
        scheduler = Scheduler(
            engine.run, layout, pace, most_texts=texts, room=room, hang_seconds=hang, niceness=0, observer=observer
        )
        scheduler.start()
        started.append(scheduler)
        return scheduler

    yield make
    engine.open()
    for each in started:
        await each.stop()


async def queue_behind_running(scheduler: Scheduler, engine: Engine, *texts: Encoded) -> list["asyncio.Task[object]"]:
    """Let a first text occupy the engine, then queue each text as a call of its own."""
    first = asyncio.create_task(scheduler.submit([text(1)]))
    await engine.until_running()
    rest = [asyncio.create_task(scheduler.submit([each])) for each in texts]
    await asyncio.sleep(0)
    return [first, *rest]


async def test_batches_across_calls(begin: Begin, engine: Engine) -> None:
    """What arrives while a batch runs is run together, in order of arrival, up to the limit of texts."""
    tasks = await queue_behind_running(begin(), engine, *(text(name) for name in range(2, 8)))
    engine.open()
    await asyncio.gather(*tasks)
    assert engine.batches == [[1], [2, 3, 4, 5], [6, 7]]


async def test_results_reach_their_callers(begin: Begin, engine: Engine) -> None:
    """A call gets the results of its own texts, in its own order, calls of many texts too."""
    scheduler = begin()
    engine.open()
    calls = [[text(100 * call + place) for place in range(3 * call)] for call in range(1, 8)]
    results = await asyncio.gather(*(scheduler.submit(call) for call in calls))
    assert [[int(each.logits[0]) for each in result] for result in results] == [
        [each.ids[0] for each in call] for call in calls
    ]


@pytest.mark.parametrize(
    ("layout", "computed"),
    [
        # Texts times their longest: 2 * 6 fill the budget, and a third of 5 would make it 18.
        (PADDED, 3 + 12 + 5 + 20 + 8),
        # Their own tokens: 3 + 6 leave no room for 5; 5 leaves none for 20; 1 + 4 fit.
        (PACKED, 3 + 9 + 5 + 20 + 5),
    ],
    ids=["padded", "packed"],
)
async def test_token_budget(begin: Begin, engine: Engine, layout: Layout, computed: int) -> None:
    """A text above the budget runs alone; a batch counts for what its layout computes, and for its texts' tokens."""
    scheduler = begin(layout, tokens=12)
    texts = text(2, 3), text(3, 6), text(4, 5), text(5, 20), text(6, 1), text(7, 4)
    tasks = await queue_behind_running(scheduler, engine, *texts)
    engine.open()
    await asyncio.gather(*tasks)
    assert engine.batches == [[1], [2, 3], [4], [5], [6, 7]]
    totals = scheduler.totals
    assert (totals.batches, totals.texts, totals.tokens, totals.computed) == (5, 7, 42, computed)


async def test_batch_is_as_large_as_its_time_allows(begin: Begin, engine: Engine) -> None:
    """With 0.5 s a token a batch of 6.1 s has two texts of six tokens."""
    scheduler = begin(token_seconds=0.5, seen_tokens=3000, batch_seconds=6.1)
    tasks = await queue_behind_running(scheduler, engine, *(text(name, 6) for name in range(2, 6)))
    engine.open()
    await asyncio.gather(*tasks)
    assert engine.batches[:2] == [[1], [2, 3]]


async def test_by_priority_then_deadline(begin: Begin, engine: Engine) -> None:
    """Whatever the order of arrival; calls without a deadline come as if they had 10 s."""
    scheduler, now = begin(texts=1), perf_counter()
    first = asyncio.create_task(scheduler.submit([text(1)]))
    await engine.until_running()
    calls = [
        (2, Priority.LOW, now + 100),
        (3, Priority.NORMAL, inf),
        (4, Priority.NORMAL, now + 1000),
        (5, Priority.NORMAL, now + 100),
        (6, Priority.HIGH, inf),
        (7, Priority.HIGH, now + 5),
    ]
    tasks = [asyncio.create_task(scheduler.submit([text(name)], priority, due)) for name, priority, due in calls]
    await asyncio.sleep(0)
    engine.open()
    await asyncio.gather(first, *tasks)
    assert engine.batches == [[1], [7], [6], [3], [4], [5], [2]]


async def test_large_call_takes_turns(begin: Begin, engine: Engine) -> None:
    """A call of many texts, though first, gets a quarter of each batch while single texts wait, then all of it."""
    scheduler = begin(texts=8)
    first = asyncio.create_task(scheduler.submit([text(1)]))
    await engine.until_running()
    large = asyncio.create_task(scheduler.submit([text(100 + place) for place in range(12)]))
    await asyncio.sleep(0)
    single = [asyncio.create_task(scheduler.submit([text(name)])) for name in range(2, 12)]
    await asyncio.sleep(0)
    engine.open()
    await asyncio.gather(first, large, *single)
    assert engine.batches == [
        [1],
        [100, 101, 2, 3, 4, 5, 6, 7],
        [102, 103, 8, 9, 10, 11, 104, 105],
        [106, 107, 108, 109, 110, 111],
    ]


async def test_refuses_when_full(begin: Begin, engine: Engine, observer: Observer) -> None:
    """A call that does not fit into the queue is refused at once; texts that are being tokenized take room."""
    scheduler = begin(room=3)
    tasks = await queue_behind_running(scheduler, engine, text(2), text(3))
    scheduler.admit(1, 3, Priority.NORMAL, inf)
    scheduler.expect(1)
    with pytest.raises(Overloaded, match="3 texts are waiting") as refusal:
        scheduler.admit(1, 3, Priority.NORMAL, inf)
    assert refusal.value.retry_after is not None
    scheduler.expect(-1)
    assert observer.counts == {"queue_full": 1}
    engine.open()
    await asyncio.gather(*tasks)


async def test_refuses_what_comes_too_late(begin: Begin, engine: Engine, observer: Observer) -> None:
    """Where the queue ahead, its own batch and one batch more do not fit the deadline: 3 tokens take 6 s."""
    scheduler = begin(texts=1, tokens=3, token_seconds=2.0)
    tasks = await queue_behind_running(scheduler, engine, text(2))
    now = perf_counter()
    for refused, deadline in ((False, now + 50), (True, now + 9)):
        if not refused:
            scheduler.admit(1, 3, Priority.NORMAL, deadline)
            continue
        with pytest.raises(Overloaded, match="cannot be ready within the deadline") as refusal:
            scheduler.admit(1, 3, Priority.NORMAL, deadline)
        # The rest of the run, then its own batch and one more; the text that waits has a later place.
        assert refusal.value.retry_after == pytest.approx(8, abs=2)
    assert observer.counts == {"deadline": 1}
    engine.open()
    await asyncio.gather(*tasks)


async def test_only_those_ahead_count(begin: Begin, engine: Engine) -> None:
    """A call of high priority is admitted where one of normal priority comes too late behind a long queue."""
    scheduler = begin(texts=1, tokens=3, token_seconds=0.1)
    first = asyncio.create_task(scheduler.submit([text(1)]))
    await engine.until_running()
    deadline = perf_counter() + 9
    tasks = [asyncio.create_task(scheduler.submit([text(name)], deadline=deadline)) for name in range(20, 48)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        scheduler.admit(1, 3, Priority.NORMAL, deadline)
    scheduler.admit(1, 3, Priority.HIGH, deadline)
    engine.open()
    await asyncio.gather(first, *tasks)


async def test_idle_model_takes_any_call(begin: Begin, engine: Engine, observer: Observer) -> None:
    """Though it seems too slow: or nobody would see that it has become faster."""
    scheduler = begin(tokens=3, token_seconds=100.0)
    engine.open()
    for _ in range(60):
        deadline = perf_counter() + 50
        scheduler.admit(1, 3, Priority.NORMAL, deadline)
        await scheduler.submit([text(2)], deadline=deadline)
    tasks = await queue_behind_running(scheduler, engine)
    scheduler.admit(1, 3, Priority.NORMAL, perf_counter() + 250)
    await asyncio.gather(*tasks)
    assert not observer.counts


async def test_what_expires_is_not_computed(begin: Begin, engine: Engine, observer: Observer) -> None:
    """On arrival, and in the queue; those beside it are answered."""
    scheduler = begin()
    with pytest.raises(Expired):
        scheduler.admit(2, 3, Priority.NORMAL, perf_counter() - 1)
    first = asyncio.create_task(scheduler.submit([text(1)]))
    await engine.until_running()
    deadline = perf_counter() + 0.01
    late = asyncio.create_task(scheduler.submit([text(2)], deadline=deadline))
    kept = asyncio.create_task(scheduler.submit([text(3)]))
    await asyncio.sleep(deadline - perf_counter())  # a deadline passes by no other means
    engine.open()
    with pytest.raises(Expired):
        await late
    await asyncio.gather(first, kept)
    assert engine.batches == [[1], [3]]
    assert observer.counts == {"expired": 3}


async def test_what_cannot_be_in_time_is_not_computed(begin: Begin, engine: Engine, observer: Observer) -> None:
    """A text that would take longer than its deadline leaves is dropped where others wait."""
    scheduler = begin(tokens=3, token_seconds=10.0)
    tasks = await queue_behind_running(scheduler, engine, text(3))
    late = asyncio.create_task(scheduler.submit([text(2)], deadline=perf_counter() + 5))
    await asyncio.sleep(0)
    engine.open()
    with pytest.raises(Expired):
        await late
    await asyncio.gather(*tasks)
    assert engine.batches == [[1], [3]]
    assert observer.counts == {"expired": 1}


async def test_cancelled_call_is_not_computed(begin: Begin, engine: Engine) -> None:
    """A call that is cancelled while it waits frees its room and is never run; one that runs disturbs no other."""
    scheduler = begin(room=2)
    first, gone, kept = await queue_behind_running(scheduler, engine, text(2), text(3))
    gone.cancel()
    await asyncio.wait([gone])
    scheduler.admit(1, 3, Priority.NORMAL, inf)
    engine.gate.release()
    await engine.until_running()
    assert engine.batches == [[1], [3]]
    kept.cancel()
    last = asyncio.create_task(scheduler.submit([text(4)]))
    engine.open()
    assert [int(each.logits[0]) for each in await last] == [4]
    await first


@pytest.mark.parametrize(("seconds", "counted"), [(0.005, "expired"), (60.0, "cancelled"), (inf, "cancelled")])
async def test_who_leaves_at_its_deadline_counts_as_expired(
    seconds: float, counted: str, begin: Begin, engine: Engine, observer: Observer
) -> None:
    """Its clock began earlier than ours; who leaves long before its deadline has cancelled."""
    scheduler = begin()
    first = asyncio.create_task(scheduler.submit([text(1)]))
    await engine.until_running()
    gone = asyncio.create_task(scheduler.submit([text(2)], deadline=perf_counter() + seconds))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.wait([gone])
    engine.open()
    await first
    assert observer.counts == {counted: 1}


async def test_failed_batch_is_split(begin: Begin, engine: Engine) -> None:
    """Where the engine raises, halves are run until the guilty text is alone: it fails, the others are answered."""
    scheduler = begin()
    tasks = await queue_behind_running(scheduler, engine, text(2), text(13), text(4), text(5))
    engine.open()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(each) for each in results] == [list, list, ModelFailed, list, list]
    assert engine.batches == [[1], [2, 13, 4, 5], [2, 13], [2], [13], [4, 5]]
    assert str(results[2]) == "the model failed on texts[0]; the server's log has the cause"
    assert [int(each.logits[0]) for each in await scheduler.submit([text(5)])] == [5]


async def test_text_without_finite_answer_fails_alone(begin: Begin, engine: Engine) -> None:
    """Its call fails, by the text's place; the batch's others are answered."""
    tasks = await queue_behind_running(begin(), engine, text(17), text(3))
    engine.open()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(each) for each in results] == [list, ModelFailed, list]
    assert str(results[1]) == "the model gives no finite numbers for texts[0]"


async def test_hung_run_ends_the_scheduler(begin: Begin, engine: Engine) -> None:
    """Where a run does not end, those in it and those behind it are told, and later ones are refused at once."""
    scheduler = begin(hang=0.05)
    tasks = await queue_behind_running(scheduler, engine, text(2), text(3))
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(each) for each in results] == [NotReady] * 3
    assert scheduler.ended.is_set()
    with pytest.raises(NotReady):
        await scheduler.submit([text(9)])
    with pytest.raises(NotReady):
        scheduler.admit(1, 1, Priority.NORMAL, inf)


async def test_hung_half_reaches_the_other_half(begin: Begin, engine: Engine) -> None:
    """Where a batch has failed and one of its halves hangs, those of the half that was still to be run are told too."""
    scheduler = begin(hang=2)
    tasks = await queue_behind_running(scheduler, engine, text(13), text(2), text(3), text(4))
    engine.gate.release(2)  # the first text and the whole batch, but neither half
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(each) for each in results] == [list, *[NotReady] * 4]


async def test_fault_of_its_own_reaches_every_caller(begin: Begin, engine: Engine) -> None:
    """Where the thread ends, texts taken and texts waiting are refused at once, as are later ones."""
    scheduler = begin()
    tasks = await queue_behind_running(scheduler, engine, text(14), *(text(name) for name in range(2, 8)))
    engine.open()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(each) for each in results] == [list, *[NotReady] * 7]
    assert scheduler.ended.is_set()
    with pytest.raises(NotReady):
        await scheduler.submit([text(9)])


async def test_stop_ends_after_the_run_under_way(begin: Begin, engine: Engine) -> None:
    """What runs is answered, what waits is told, and what comes later is refused."""
    scheduler = begin()
    tasks = await queue_behind_running(scheduler, engine, text(2), text(3))
    stopping = asyncio.create_task(scheduler.stop())
    await asyncio.sleep(0)
    engine.open()
    await stopping
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(each) for each in results] == [list, NotReady, NotReady]
    with pytest.raises(NotReady):
        await scheduler.submit([text(4)])


async def test_refuses_before_start(engine: Engine, observer: Observer) -> None:
    """A scheduler that was never started turns calls away instead of letting them wait for ever."""
    scheduler = Scheduler(
        engine.run, PACKED, Pace(1, 1), most_texts=1, room=1, hang_seconds=1, niceness=0, observer=observer
    )
    with pytest.raises(NotReady):
        await scheduler.submit([text(1)])


async def test_a_run_is_as_long_as_it_ran(begin: Begin, engine: Engine, observer: Observer) -> None:
    """However late the event loop, busy with other things, comes to see that it has ended."""
    scheduler = begin()
    engine.open()
    behind = asyncio.create_task(scheduler.submit([text(2)]))
    while not engine.batches:  # noqa: ASYNC110 - no event tells of it
        await asyncio.sleep(0)
    end = perf_counter() + 2
    while perf_counter() < end:
        pass
    await behind
    assert observer.runs[0].run_seconds < 1.5
    assert scheduler.busy_seconds < 1.5
