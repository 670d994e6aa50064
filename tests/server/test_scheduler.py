"""The scheduler by itself, in front of an engine that the test holds in its hand."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from math import inf
from time import perf_counter

import numpy as np
import pytest
from numpy.typing import NDArray

from bertwire_runtime.layouts import Arrays, Layout
from bertwire_runtime.tokenizer import Encoded
from bertwire_server.errors import Expired, ModelFailed, NotReady, Overloaded
from bertwire_server.model.queue import BatchLimits, Call
from bertwire_server.model.scheduler import Scheduler
from bertwire_server.query import Priority
from observing import Observer

LIMITS = BatchLimits(tokens=1000, texts=4, delay=0, waiting=100)
PADDED, PACKED = Layout("padded", 0, 0, by_token=False), Layout("packed", 2, 0, by_token=False)


class Engine:
    """Answers each text with its first token; runs a batch only when it is let through."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.laid_out: list[list[int]] = []
        self.third_laid_out = threading.Event()
        self.gate = threading.Semaphore(0)
        self.entered = threading.Semaphore(0)

    def lay_out(self, texts: Sequence[Encoded]) -> Arrays:
        """Records that it did."""
        self.laid_out.append([text.ids[0] for text in texts])
        if len(self.laid_out) == 3:
            self.third_laid_out.set()
        return {}

    def run(self, arrays: Arrays, texts: Sequence[Encoded]) -> list[NDArray[np.float32]]:  # noqa: ARG002
        """Records the batch; a text that starts with token 13 breaks it, one with token 17 has no finite answer."""
        names = [text.ids[0] for text in texts]
        self.batches.append(names)
        self.entered.release()
        self.gate.acquire()
        if 13 in names:
            raise RuntimeError("13")
        return [np.array([np.nan if name == 17 else name], dtype=np.float32) for name in names]

    def open(self) -> None:
        """Lets every batch through from now on."""
        self.gate.release(1_000_000)

    async def until_running(self) -> None:
        """Waits until a batch has begun to run."""
        await asyncio.to_thread(self.entered.acquire)


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
async def schedulers(engine: Engine) -> AsyncIterator[list[Scheduler]]:
    """Schedulers that are stopped when the test ends."""
    started: list[Scheduler] = []
    yield started
    engine.open()
    for each in started:
        await each.stop()


def begin(
    schedulers: list[Scheduler],
    engine: Engine,
    limits: BatchLimits = LIMITS,
    layout: Layout = PADDED,
    observer: Observer | None = None,
    hang_seconds: float = 60,
) -> Scheduler:
    """Starts a scheduler in front of the engine."""
    scheduler = Scheduler(engine, limits, layout, observer or Observer(), hang_seconds)
    scheduler.start()
    schedulers.append(scheduler)
    return scheduler


async def queue_behind_running(scheduler: Scheduler, engine: Engine, *texts: Encoded) -> list["asyncio.Task[object]"]:
    """Lets a first text occupy the engine, then queues each text as a call of its own."""
    first = asyncio.create_task(scheduler.submit([text(1)]))
    await engine.until_running()
    rest = [asyncio.create_task(scheduler.submit([each])) for each in texts]
    await asyncio.sleep(0)
    return [first, *rest]


async def test_batches_across_calls(schedulers: list[Scheduler], engine: Engine) -> None:
    """What arrives while a batch runs is run together, in order of arrival, up to the limit of texts."""
    scheduler = begin(schedulers, engine)
    tasks = await queue_behind_running(scheduler, engine, *(text(name) for name in range(2, 8)))
    engine.open()
    await asyncio.gather(*tasks)
    assert engine.batches == [[1], [2, 3, 4, 5], [6, 7]]


async def test_answers_reach_their_callers(schedulers: list[Scheduler], engine: Engine) -> None:
    """A call gets the answers to its own texts, in its own order."""
    scheduler = begin(schedulers, engine)
    engine.open()
    calls = [[text(10 * call + place) for place in range(call + 1)] for call in range(2, 8)]
    answers = await asyncio.gather(*(scheduler.submit(call) for call in calls))
    assert [[int(each.logits[0]) for each in answer] for answer in answers] == [
        [each.ids[0] for each in call] for call in calls
    ]


@pytest.mark.parametrize(
    ("layout", "batches", "computed"),
    [
        # Texts times their longest: 2 * 6 fill the budget, and a third of 5 would make it 18.
        (PADDED, [[1], [2, 3], [4], [5], [6, 7]], 3 + 12 + 5 + 20 + 8),
        # Their own tokens: 3 + 6 leave no room for 5; 5 leaves none for 20; 1 + 4 fit.
        (PACKED, [[1], [2, 3], [4], [5], [6, 7]], 3 + 9 + 5 + 20 + 5),
    ],
    ids=["padded", "packed"],
)
async def test_totals_count_what_is_computed(
    schedulers: list[Scheduler], engine: Engine, layout: Layout, batches: list[list[int]], computed: int
) -> None:
    """A text above the budget runs alone; a batch counts for what its layout computes, and for its texts' tokens."""
    scheduler = begin(schedulers, engine, replace(LIMITS, tokens=12), layout)
    texts = text(2, 3), text(3, 6), text(4, 5), text(5, 20), text(6, 1), text(7, 4)
    tasks = await queue_behind_running(scheduler, engine, *texts)
    engine.open()
    await asyncio.gather(*tasks)
    assert engine.batches == batches
    totals = scheduler.totals
    assert (totals.batches, totals.texts, totals.tokens, totals.computed) == (5, 7, 42, computed)


@pytest.mark.parametrize(("layout", "batches"), [(PADDED, [[1], [2, 3], [4, 5]]), (PACKED, [[1], [2, 3, 4], [5]])])
async def test_token_budget_is_of_what_is_computed(
    schedulers: list[Scheduler], engine: Engine, layout: Layout, batches: list[list[int]]
) -> None:
    """Filler takes room in a batch where it is computed, and takes none where it is not."""
    scheduler = begin(schedulers, engine, replace(LIMITS, tokens=14), layout)
    tasks = await queue_behind_running(scheduler, engine, text(2, 7), text(3, 2), text(4, 5), text(5, 1))
    engine.open()
    await asyncio.gather(*tasks)
    assert engine.batches == batches


async def test_waits_for_texts_on_their_way(schedulers: list[Scheduler], engine: Engine) -> None:
    """An idle engine waits for texts that are being tokenized, and no longer than until the batch is full."""
    scheduler = begin(schedulers, engine, replace(LIMITS, delay=3600))
    engine.open()
    scheduler.expect(5, 0)
    await asyncio.gather(*(scheduler.submit([text(name)]) for name in range(2, 6)))
    scheduler.expect(-5, 0)
    assert engine.batches == [[2, 3, 4, 5]]


async def test_does_not_wait_for_nothing(schedulers: list[Scheduler], engine: Engine) -> None:
    """An idle engine runs a text at once where no other is on its way, or as soon as none is any more."""
    scheduler = begin(schedulers, engine, replace(LIMITS, delay=3600))
    engine.open()
    await scheduler.submit([text(2)])
    scheduler.expect(1, 0)
    waiting = asyncio.create_task(scheduler.submit([text(3)]))
    await asyncio.sleep(0)
    scheduler.expect(-1, 0)
    await waiting
    assert engine.batches == [[2], [3]]


async def test_delay_ends(schedulers: list[Scheduler], engine: Engine) -> None:
    """A batch that does not fill runs when the delay is over."""
    scheduler = begin(schedulers, engine, replace(LIMITS, delay=0.001))
    engine.open()
    scheduler.expect(1, 0)
    answers = await scheduler.submit([text(2)])
    assert answers[0].queue_seconds >= 0.001


async def test_refuses_when_full(schedulers: list[Scheduler], engine: Engine) -> None:
    """A call that does not fit into the queue is refused at once; those in it are answered."""
    scheduler = begin(schedulers, engine, replace(LIMITS, waiting=2))
    tasks = await queue_behind_running(scheduler, engine, text(2), text(3))
    scheduler.admit(0, 0, Priority.NORMAL, inf)
    with pytest.raises(Overloaded, match="2 texts are waiting") as refusal:
        scheduler.admit(1, 3, Priority.NORMAL, inf)
    assert refusal.value.retry_after is not None
    engine.open()
    await asyncio.gather(*tasks)
    assert engine.batches == [[1], [2, 3]]


async def test_cancelled_call_is_not_computed(schedulers: list[Scheduler], engine: Engine) -> None:
    """A call cancelled while it waits frees its room and is never run."""
    scheduler = begin(schedulers, engine, replace(LIMITS, waiting=2))
    first, gone, kept = await queue_behind_running(scheduler, engine, text(2), text(3))
    gone.cancel()
    await asyncio.wait([gone])
    late = asyncio.create_task(scheduler.submit([text(4)]))
    await asyncio.sleep(0)
    engine.open()
    await asyncio.gather(first, kept, late)
    assert engine.batches == [[1], [3, 4]]


@pytest.mark.parametrize(("seconds", "counted"), [(0.005, "expired"), (60.0, "cancelled"), (inf, "cancelled")])
async def test_who_leaves_at_its_deadline_counts_as_expired(
    seconds: float, counted: str, schedulers: list[Scheduler], engine: Engine, observer: Observer
) -> None:
    """Its clock began earlier than ours; who leaves long before its deadline has cancelled."""
    scheduler = begin(schedulers, engine, observer=observer)
    first = asyncio.create_task(scheduler.submit([text(1)]))
    await engine.until_running()
    gone = asyncio.create_task(scheduler.submit([text(2)], deadline=perf_counter() + seconds))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.wait([gone])
    engine.open()
    await first
    assert observer.counts == {counted: 1}


async def test_cancelled_while_running(schedulers: list[Scheduler], engine: Engine) -> None:
    """A call cancelled while its batch runs does not keep the batch's other callers from their answers."""
    scheduler = begin(schedulers, engine)
    first, gone, kept = await queue_behind_running(scheduler, engine, text(2), text(3))
    engine.gate.release()
    await engine.until_running()
    gone.cancel()
    engine.open()
    assert [int(each.logits[0]) for each in await kept] == [3]  # type: ignore[attr-defined]
    await first
    assert gone.cancelled()


async def test_failed_batch_is_split(schedulers: list[Scheduler], engine: Engine) -> None:
    """Where the engine raises, halves are run until the guilty text is alone: it fails, the others are answered."""
    scheduler = begin(schedulers, engine)
    tasks = await queue_behind_running(scheduler, engine, text(2), text(13), text(4), text(5))
    engine.open()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(each) for each in results] == [list, list, ModelFailed, list, list]
    assert engine.batches == [[1], [2, 13, 4, 5], [2, 13], [2], [13], [4, 5]]
    assert str(results[2]) == "the model failed on texts[0]; the server's log has the cause"
    assert [int(each.logits[0]) for each in await scheduler.submit([text(5)])] == [5]


async def test_failed_call_is_not_run_further(schedulers: list[Scheduler], engine: Engine) -> None:
    """A call that has failed for one of its texts costs no more runs for the others."""
    scheduler = begin(schedulers, engine)
    engine.open()
    with pytest.raises(ModelFailed):
        await scheduler.submit([text(13), *(text(name) for name in range(20, 27))])
    await scheduler.submit([text(2)])
    assert engine.batches == [[13, 20, 21, 22], [13, 20], [13], [2]]


async def test_engine_that_always_fails_answers_everyone(schedulers: list[Scheduler], engine: Engine) -> None:
    """Every caller is told, and none waits for ever."""
    scheduler = begin(schedulers, engine)
    tasks = await queue_behind_running(scheduler, engine, *[text(13)] * 7)
    engine.open()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(each) for each in results[1:]] == [ModelFailed] * 7


async def test_hung_run_ends_the_scheduler(schedulers: list[Scheduler], engine: Engine) -> None:
    """Where a run does not end, those in it and those behind it are told, and later ones are refused at once."""
    scheduler = begin(schedulers, engine, hang_seconds=0.05)
    results = await asyncio.gather(
        *await queue_behind_running(scheduler, engine, text(2), text(3)), return_exceptions=True
    )
    assert [type(each) for each in results] == [NotReady] * 3
    assert scheduler.ended.is_set()
    with pytest.raises(NotReady):
        await scheduler.submit([text(9)])
    with pytest.raises(NotReady):
        scheduler.admit(1, 1, Priority.NORMAL, inf)


async def test_hung_half_reaches_the_other_half(schedulers: list[Scheduler], engine: Engine) -> None:
    """Where a batch has failed and one of its halves hangs, those of the half that was still to be run are told too."""
    scheduler = begin(schedulers, engine, hang_seconds=0.2)
    tasks = await queue_behind_running(scheduler, engine, text(13), text(2), text(3), text(4))
    engine.gate.release(2)  # the first text and the whole batch, but neither half
    results = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 10)
    assert [type(each) for each in results] == [list, *[NotReady] * 4]


async def test_order(schedulers: list[Scheduler], engine: Engine) -> None:
    """By priority, then by deadline, then by arrival."""
    scheduler = begin(schedulers, engine, replace(LIMITS, texts=1))
    first = asyncio.create_task(scheduler.submit([text(1)]))
    await engine.until_running()
    now = perf_counter()
    calls = [
        scheduler.submit([text(name)], priority, now + seconds)
        for name, priority, seconds in [
            (2, Priority.LOW, 500),
            (3, Priority.NORMAL, 700),
            (4, Priority.NORMAL, inf),
            (5, Priority.NORMAL, 5),
            (6, Priority.NORMAL, 4),
            (7, Priority.HIGH, 900),
        ]
    ]
    tasks = [asyncio.create_task(call) for call in calls]
    await asyncio.sleep(0)
    engine.open()
    await asyncio.gather(first, *tasks)
    assert engine.batches == [[1], [7], [6], [5], [3], [4], [2]]


async def test_large_call_leaves_room(schedulers: list[Scheduler], engine: Engine) -> None:
    """A call of many texts gets a text and a quarter of each batch while calls of one wait; then all."""
    scheduler = begin(schedulers, engine, replace(LIMITS, texts=8))
    first = asyncio.create_task(scheduler.submit([text(1)]))
    await engine.until_running()
    large = asyncio.create_task(scheduler.submit([text(100)] * 16))
    await asyncio.sleep(0)
    small = [asyncio.create_task(scheduler.submit([text(name)])) for name in range(20, 32)]
    await asyncio.sleep(0)
    engine.open()
    await asyncio.gather(first, large, *small)
    assert [sorted(batch) for batch in engine.batches[1:]] == [
        [20, 21, 22, 23, 24, 100, 100, 100],
        [25, 26, 27, 28, 29, 100, 100, 100],
        [30, 31, 100, 100],
        [100] * 8,
    ]


async def test_expired_is_never_run(schedulers: list[Scheduler], engine: Engine, observer: Observer) -> None:
    """A text whose deadline passes while it waits is told so, and not computed."""
    scheduler = begin(schedulers, engine, observer=observer)
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
    assert observer.counts == {"expired": 1}


async def test_turned_away_on_arrival(schedulers: list[Scheduler], engine: Engine, observer: Observer) -> None:
    """A call that cannot be answered in time by the measured speed and the queue ahead is refused at once."""
    scheduler = begin(schedulers, engine, observer=observer)
    for tokens in (3, 12):
        scheduler.cost.add(tokens, tokens * 0.1)
    first, second = await queue_behind_running(scheduler, engine, text(2))
    now = perf_counter()
    scheduler.admit(1, 3, Priority.NORMAL, now + 60)
    with pytest.raises(Overloaded, match="cannot be ready within the deadline") as refusal:
        scheduler.admit(1, 3, Priority.NORMAL, now + 0.4)
    # The run of 3 tokens, and one of its own 3, whose turn is before those that can wait: 0.6 s, 0.2 s too late.
    assert refusal.value.retry_after == pytest.approx(0.2, abs=0.1)
    scheduler.admit(1, 3, Priority.HIGH, now + 1.2)
    assert observer.counts == {"deadline": 1}
    engine.open()
    await asyncio.gather(first, second)


async def test_idle_engine_is_always_tried(schedulers: list[Scheduler], engine: Engine) -> None:
    """Where nothing is ahead a call is admitted though the model seems too slow: or nobody would see it faster."""
    scheduler = begin(schedulers, engine)
    scheduler.cost.add(3, 100)
    engine.open()
    deadline = perf_counter() + 50
    scheduler.admit(1, 3, Priority.NORMAL, deadline)
    await scheduler.submit([text(2)], deadline=deadline)
    assert scheduler.cost.seconds(3) < 100


async def test_refuses_what_has_expired(schedulers: list[Scheduler], engine: Engine, observer: Observer) -> None:
    """A deadline that has passed on arrival is said to have."""
    scheduler = begin(schedulers, engine, observer=observer)
    with pytest.raises(Expired):
        scheduler.admit(2, 3, Priority.NORMAL, perf_counter() - 1)
    assert observer.counts == {"expired": 2}


async def test_batch_ends_where_a_deadline_would_be_missed(schedulers: list[Scheduler], engine: Engine) -> None:
    """A text joins a batch only if the batch is then still in time for all of it."""
    scheduler = begin(schedulers, engine, layout=PACKED)
    for tokens in (3, 12):
        scheduler.cost.add(tokens, tokens * 1.0)
    first = asyncio.create_task(scheduler.submit([text(1)]))
    await engine.until_running()
    now = perf_counter()
    deadlines = {2: now + 7, 3: now + 7, 4: now + 20}
    tasks = [asyncio.create_task(scheduler.submit([text(name)], deadline=each)) for name, each in deadlines.items()]
    tasks.append(asyncio.create_task(scheduler.submit([text(5)])))
    await asyncio.sleep(0)
    engine.gate.release()
    await engine.until_running()
    assert engine.batches == [[1], [2, 3]]
    engine.open()
    await asyncio.gather(first, *tasks)


async def test_small_batches_of_an_idle_model_say_nothing_of_a_queue(
    schedulers: list[Scheduler], engine: Engine
) -> None:
    """A queue is expected to take what full batches take, also where calls have been coming one by one."""
    scheduler = begin(schedulers, engine)
    engine.open()
    for name in range(5):
        await scheduler.submit([text(name)])
    assert scheduler.cost.queue_seconds(1000, 10) == scheduler.cost.seconds(1000, 10)


async def test_next_batch_is_laid_out_ahead(schedulers: list[Scheduler], engine: Engine) -> None:
    """While a batch runs the next one is laid out, where that is full; who has gone by then is not run."""
    scheduler = begin(schedulers, engine)
    tasks = await queue_behind_running(scheduler, engine, *(text(name) for name in range(20, 30)))
    engine.gate.release()
    await engine.until_running()
    await asyncio.to_thread(engine.third_laid_out.wait)
    assert [24, 25, 26, 27] in engine.laid_out
    tasks[6].cancel()
    engine.open()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert engine.batches == [[1], [20, 21, 22, 23], [24, 26, 27, 28], [29]]


async def test_stop_resolves_every_waiter(schedulers: list[Scheduler], engine: Engine) -> None:
    """Stopping answers the running batch and the queue; later calls are turned away."""
    scheduler = begin(schedulers, engine)
    tasks = await queue_behind_running(scheduler, engine, text(2), text(3))
    stopping = asyncio.create_task(scheduler.stop())
    results = await asyncio.gather(*tasks, return_exceptions=True)
    engine.open()
    await stopping
    assert [type(each) for each in results] == [NotReady] * 3
    with pytest.raises(NotReady):
        await scheduler.submit([text(4)])


async def test_refuses_before_start(engine: Engine) -> None:
    """A scheduler that was never started turns calls away instead of letting them wait for ever."""
    with pytest.raises(NotReady):
        await Scheduler(engine, LIMITS, PADDED, Observer(), 60).submit([text(1)])


@pytest.mark.parametrize("turns", range(6))
async def test_stop_while_a_text_arrives(turns: int, schedulers: list[Scheduler], engine: Engine) -> None:
    """A scheduler told to stop just when a text wakes it up, turns of the event loop later, stops all the same."""
    scheduler = begin(schedulers, engine, replace(LIMITS, delay=3600))
    scheduler.expect(1, 0)
    calls = [asyncio.create_task(scheduler.submit([text(2)]))]
    for _ in range(10):
        await asyncio.sleep(0)
    calls.append(asyncio.create_task(scheduler.submit([text(3)])))
    for _ in range(turns):
        await asyncio.sleep(0)
    async with asyncio.timeout(30):
        await scheduler.stop()
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(each) for each in results] == [NotReady] * 2


async def test_text_without_finite_answer_fails_alone(schedulers: list[Scheduler], engine: Engine) -> None:
    """Where the model gives a text no numbers its call fails, by the text's place; the batch's others are answered."""
    scheduler = begin(schedulers, engine)
    engine.open()
    failing = scheduler.submit([text(2), text(17)])
    results = await asyncio.gather(failing, scheduler.submit([text(3)]), return_exceptions=True)
    assert engine.batches == [[2, 3, 17]]
    assert isinstance(results[0], ModelFailed)
    assert str(results[0]) == "the model gives no finite numbers for texts[1]"
    assert not isinstance(results[1], BaseException)
    assert int(results[1][0].logits[0]) == 3


async def test_fault_of_its_own_reaches_every_caller(
    schedulers: list[Scheduler], engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the scheduler itself fails, texts taken and texts waiting are refused at once, as are later ones."""
    scheduler = begin(schedulers, engine)
    tasks = await queue_behind_running(scheduler, engine, *(text(name) for name in range(2, 8)))
    assert not scheduler.ended.is_set()

    def fail(_: Scheduler) -> None:
        raise RuntimeError("of its own")

    monkeypatch.setattr(Scheduler, "_lay_out_ahead", fail)
    engine.open()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(each) for each in results] == [list, *[NotReady] * 6]
    assert scheduler.ended.is_set()
    with pytest.raises(NotReady):
        await scheduler.submit([text(9)])


def lane_calls(scheduler: Scheduler) -> list[Call]:
    """Every call that a scheduler's queue holds, those that have gone too."""
    return [entry[2] for lane in scheduler._queue._lanes.values() for entry in lane.entries]


async def test_calls_that_come_and_go_leave_nothing(schedulers: list[Scheduler], engine: Engine) -> None:
    """Behind a long run the queue holds the texts that wait, not those whose callers have gone."""
    scheduler = begin(schedulers, engine)
    tasks = await queue_behind_running(scheduler, engine, text(2), text(3))
    gone = []
    for _ in range(1000):
        task = asyncio.create_task(scheduler.submit([(each := text(4))] * 10))
        gone.append(each)
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
    held = {id(each) for each in gone} & {id(call.texts[0]) for call in lane_calls(scheduler)}
    assert len(held) < 80
    engine.open()
    await asyncio.gather(*tasks)
    assert engine.batches == [[1], [2, 3]]


async def test_a_run_is_as_long_as_it_ran(schedulers: list[Scheduler], engine: Engine) -> None:
    """However late the event loop, busy with other things, comes to see that it has ended."""
    scheduler = begin(schedulers, engine)
    engine.open()
    await scheduler.submit([text(1)])
    behind = asyncio.create_task(scheduler.submit([text(2)]))
    while len(engine.batches) < 2:  # noqa: ASYNC110 - no event tells of it
        await asyncio.sleep(0)
    end = perf_counter() + 0.5
    while perf_counter() < end:
        pass
    await behind
    assert scheduler.cost.expected(3) < 0.2
    assert scheduler.busy_seconds < 0.4
