"""The scheduler by itself, in front of an engine that the test holds in its hand."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from bertwire_export.bundle.layouts import Layout
from bertwire_server.errors import ModelFailed, NotReady, Overloaded
from bertwire_server.model.scheduler import BatchLimits, Scheduler
from bertwire_server.model.tokenizer import Encoded

LIMITS = BatchLimits(tokens=1000, texts=4, delay=0, waiting=100)
PADDED, PACKED = Layout("padded", 0, 0, by_token=False), Layout("packed", 2, 0, by_token=False)


class Engine:
    """Answers each text with its first token; runs a batch only when it is let through."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = threading.Semaphore(0)
        self.entered = threading.Semaphore(0)

    def run(self, texts: Sequence[Encoded]) -> list[NDArray[np.float32]]:
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
async def schedulers(engine: Engine) -> AsyncIterator[list[Scheduler]]:
    """Schedulers that are stopped when the test ends."""
    started: list[Scheduler] = []
    yield started
    engine.open()
    for each in started:
        await each.stop()


def begin(
    schedulers: list[Scheduler], engine: Engine, limits: BatchLimits = LIMITS, layout: Layout = PADDED
) -> Scheduler:
    """Starts a scheduler in front of the engine."""
    scheduler = Scheduler(engine.run, limits, layout)
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


async def test_waits_for_a_fuller_batch(schedulers: list[Scheduler], engine: Engine) -> None:
    """An idle engine waits for more texts, and no longer than until the batch is full."""
    scheduler = begin(schedulers, engine, replace(LIMITS, delay=3600))
    engine.open()
    await asyncio.gather(*(scheduler.submit([text(name)]) for name in range(2, 6)))
    assert engine.batches == [[2, 3, 4, 5]]


async def test_delay_ends(schedulers: list[Scheduler], engine: Engine) -> None:
    """A batch that does not fill runs when its oldest text has waited long enough."""
    scheduler = begin(schedulers, engine, replace(LIMITS, delay=0.001))
    engine.open()
    answers = await scheduler.submit([text(2)])
    assert answers[0].queue_seconds >= 0.001


async def test_refuses_when_full(schedulers: list[Scheduler], engine: Engine) -> None:
    """A call that does not fit into the queue is refused at once; those in it are answered."""
    scheduler = begin(schedulers, engine, replace(LIMITS, waiting=2))
    tasks = await queue_behind_running(scheduler, engine, text(2), text(3))
    with pytest.raises(Overloaded, match="2 texts are waiting"):
        await scheduler.submit([text(4)])
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


async def test_failed_batch_answers_everyone(schedulers: list[Scheduler], engine: Engine) -> None:
    """Where the engine raises, every caller of the batch is told, and the next batch runs as ever."""
    scheduler = begin(schedulers, engine)
    first, *failing = await queue_behind_running(scheduler, engine, text(2), text(13), text(4))
    engine.open()
    results = await asyncio.gather(first, *failing, return_exceptions=True)
    assert [type(each) for each in results] == [list, ModelFailed, ModelFailed, ModelFailed]
    assert [int(each.logits[0]) for each in await scheduler.submit([text(5)])] == [5]


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
        await Scheduler(engine.run, LIMITS, PADDED).submit([text(1)])


@pytest.mark.parametrize("turns", range(6))
async def test_stop_while_a_text_arrives(turns: int, schedulers: list[Scheduler], engine: Engine) -> None:
    """A scheduler told to stop just when a text wakes it up, turns of the event loop later, stops all the same."""
    scheduler = begin(schedulers, engine, replace(LIMITS, delay=3600))
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
    assert engine.batches == [[2, 17, 3]]
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

    def fail(_: Sequence[int]) -> None:
        raise RuntimeError("of its own")

    monkeypatch.setattr("bertwire_server.model.scheduler.Totals.add", lambda _, lengths, __: fail(lengths))
    engine.open()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(each) for each in results] == [list, *[NotReady] * 6]
    assert scheduler.ended.is_set()
    with pytest.raises(NotReady):
        await scheduler.submit([text(9)])


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
    held = {id(each) for each in gone} & {id(item.text) for item in scheduler._queue}
    assert len(held) < 20
    engine.open()
    await asyncio.gather(*tasks)
    assert engine.batches == [[1], [2, 3]]
