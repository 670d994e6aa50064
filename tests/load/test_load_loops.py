"""Loops of calls on an event loop whose clock is the test's: no call and no wait takes real time."""

import asyncio
import random
import selectors
from collections.abc import Awaitable, Callable, Iterator
from itertools import chain, pairwise

import grpc
import pytest

from bertwire_client.errors import DeadlineExceededError
from bertwire_core.errors import UserError
from bertwire_core.options import validated
from bertwire_load.arrivals import Arrivals, due_times
from bertwire_load.config import LoadConfig
from bertwire_load.loops import closed_loop, open_loop
from bertwire_load.measured import Measured
from bertwire_load.mix import Mix
from bertwire_load.requests import Request, requests
from bertwire_load.search import Promise, Search
from bertwire_load.tally import Tally
from bertwire_load.texts import parse_lengths, recorded, synthetic
from bertwire_load.worker import Load


class VirtualLoop(asyncio.SelectorEventLoop):
    """Its time passes where it would wait, and nowhere else."""

    def __init__(self) -> None:
        self.now = 0.0
        loop = self

        class Selector(selectors.SelectSelector):
            def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
                loop.now += timeout or 0.0
                return super().select(0)

        super().__init__(Selector())

    def time(self) -> float:
        """The virtual time in seconds."""
        return self.now


class Queue:
    """A server that answers one call after the other.

    Attributes:
        seconds: what each call takes of it; called with the time at which the call comes.
    """

    def __init__(self, seconds: Callable[[float], float]) -> None:
        self.seconds, self._free = seconds, 0.0

    async def send(self, request: Request) -> None:
        """Answers, or fails where that takes longer than the deadline."""
        now = asyncio.get_running_loop().time()
        self._free = max(now, self._free) + self.seconds(now)
        await asyncio.sleep(min(self._free - now, request.deadline))
        if self._free - now > request.deadline:
            raise DeadlineExceededError(grpc.StatusCode.DEADLINE_EXCEEDED, "late")

    async def close(self) -> None:
        """Has no connection."""


def endless(deadline: float = 10.0) -> Iterator[Request]:
    """Calls of one text."""
    while True:
        yield Request(["a"], "normal", deadline)


def measured(load: Load, run: Callable[[Tally], Awaitable[None]], seconds: float = 10.0) -> Measured:
    """What a loop measures from its first second on."""
    found = Measured("fake", load)
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:

        async def main() -> None:
            tally = Tally(1.0, seconds, by_size=False, by_priority=False)
            await run(tally)
            found.add([tally.part(asyncio.get_running_loop().time(), cpu=0.0)])

        runner.run(main())
    return found


def at_rate(rate: float, server: Queue, *, deadline: float = 10.0, poisson: bool = False) -> Measured:
    """What an open loop measures of a server: a second of warm-up, and ten."""
    generator = random.Random(0)  # noqa: S311 - test data
    moments = due_times("poisson" if poisson else "constant", rate, 0.0, 11.0, (0, 1), generator)
    return measured(Load(rate=rate), lambda tally: open_loop(server, moments, endless(deadline), tally))


def test_a_stall_counts_for_every_call_that_was_due() -> None:
    """Of a server that stands still for a second, every call of that second is late by what was left of it."""
    found = at_rate(100, Queue(lambda now: 1.001 if 5 <= now < 5.005 else 0.001))
    assert (found.calls, found.failed, found.unsent, found.unfinished) == (1000, {}, 0, 0)
    # 100 calls were due in the second, and 11 until the server has caught up.
    assert found.latency.percentile(88) == pytest.approx(1, rel=0.05)
    assert found.latency.percentile(90) == pytest.approx(100, abs=20)
    assert found.latency.percentile(95) == pytest.approx(550, abs=20)
    assert found.latency.percentile(100) == pytest.approx(1001, rel=0.01)
    assert found.client_limit is None
    stalled = found.moments[4]
    assert (stalled.at, stalled.answered) == (4, 100)
    assert stalled.p50 == pytest.approx(550, rel=0.05)
    assert found.moments[0].p99 == pytest.approx(1, rel=0.05)


def test_the_clients_own_stall_is_shown() -> None:
    """Calls that the client sends late count from when they were due, and the delay is its own."""

    class Blocking(Queue):
        async def send(self, request: Request) -> None:
            loop = asyncio.get_running_loop()
            assert isinstance(loop, VirtualLoop)
            if 5 <= loop.now < 5.005:
                loop.now += 1
            await super().send(request)

    found = at_rate(100, Blocking(lambda _: 0.001))
    assert found.calls == 1000
    assert found.delay.percentile(95) == pytest.approx(500, abs=20)
    assert found.latency.percentile(95) == pytest.approx(500, abs=60)
    assert found.client_limit is not None
    assert "ms late" in found.client_limit


def test_a_client_that_is_far_behind_says_so() -> None:
    """What it cannot send a second after the end is counted as not sent, and breaks any promise."""

    class Slow(Queue):
        async def send(self, request: Request) -> None:  # noqa: ARG002
            loop = asyncio.get_running_loop()
            assert isinstance(loop, VirtualLoop)
            loop.now += 0.1

    found = at_rate(100, Slow(lambda _: 0.0))
    assert found.calls == 1000
    assert found.unsent > 800
    assert found.client_limit == f"{found.unsent:,} calls were due and not sent"
    assert not Promise(p99=1e6, errors=0.5).kept(found)


def test_closed_loop_keeps_calls_in_flight() -> None:
    """Its rate is the server's, and its latency that of all calls in flight."""
    server = Queue(lambda _: 0.01)
    found = measured(Load(concurrency=4), lambda tally: closed_loop(server, 4, endless(), tally))
    assert found.answered / found.seconds == pytest.approx(100, rel=0.02)
    assert found.latency.percentile(50) == pytest.approx(40, rel=0.02)


def test_find_max_ends_below_the_capacity() -> None:
    """Of a server of 100 calls a second the search finds a rate that keeps the promise, close to one that breaks it."""
    promise, search, tried = Promise(p99=100, errors=0.01), Search(10), dict[float, bool]()
    while not search.done:
        rate = search.rate
        tried[rate] = promise.kept(at_rate(rate, Queue(lambda _: 0.01), deadline=0.2, poisson=True))
        search.tell(kept=tried[rate])
    assert search.best is not None
    assert 50 < search.best < 100
    assert tried[search.best]
    assert min(rate for rate, kept in tried.items() if not kept) <= search.best * 1.05
    assert at_rate(200, Queue(lambda _: 0.01), deadline=0.2).failed["DEADLINE_EXCEEDED"] > 400


def test_find_max_measures_a_broken_promise_again() -> None:
    """One hiccup does not end the search; a server that never keeps the promise does."""
    search = Search(10)
    search.tell(kept=False)
    assert search.rate == 10
    search.tell(kept=True)
    assert (search.rate, search.best) == (20, 10)
    hopeless = Search(10)
    while not hopeless.done:
        hopeless.tell(kept=False)
    assert hopeless.best is None


def test_arrivals_are_of_the_rate() -> None:
    """Processes share it, each with moments of its own."""
    kinds: tuple[Arrivals, ...] = ("poisson", "constant")
    for kind in kinds:
        generators = map(random.Random, range(3))
        shares = [due_times(kind, 100, 5.0, 20.0, (place, 3), each) for place, each in enumerate(generators)]
        moments = sorted(chain(*shares))
        assert len(moments) == pytest.approx(2000, rel=0.05)
        assert (moments[0] >= 5, moments[-1] < 25) == (True, True)
        gaps = [later - earlier for earlier, later in pairwise(moments)]
        assert (max(gaps) > 0.03) == (kind == "poisson")


def test_texts_and_calls_are_as_described() -> None:
    """Lengths follow the distribution, recorded texts their order, and calls their mix."""
    generator = random.Random(1)  # noqa: S311 - test data

    def words(form: str) -> list[int]:
        texts = synthetic(parse_lengths(form), generator)
        return sorted(len(next(texts).split()) for _ in range(1001))

    assert set(words("7")) == {7}
    assert words("lognormal:20,0.5")[500] == pytest.approx(20, abs=1)
    quartiles = words("quantiles:1,5,9")
    assert (quartiles[0], quartiles[500], quartiles[-1]) == (1, 5, 9)
    order = recorded(["a", "b", "c", "d"], 0.5)
    mixed = requests(order, Mix((1, 3), (9, 1)), Mix(("high",), (1,)), Mix((0.1, 1.0), (1, 1)), generator)
    found = [next(mixed) for _ in range(1000)]
    assert sum(len(each.texts) == 3 for each in found) == pytest.approx(100, abs=30)
    assert [text for each in found for text in each.texts][:6] == ["c", "d", "a", "b", "c", "d"]
    assert {each.deadline for each in found} == {0.1, 1.0}


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"call_size": "1:x"}, "--call-size: '1:x' is no VALUE:WEIGHT"),
        ({"priority": "urgent"}, "--priority: 'urgent' is no priority; choose of low, normal, high"),
        ({"deadline": "50"}, "--deadline: '50' is no time"),
        ({"words": "normal:3,1"}, "no distribution of lengths"),
        ({"find_max": True}, "--find-max needs --slo-p99"),
        ({"slo_p99": "50ms"}, "--slo-p99 needs --find-max"),
        ({"rate": [5], "concurrency": [2]}, "--rate is for an open loop"),
        ({"protocol": "tei", "call_size": "2"}, "one text a call"),
        ({"rate": [-1]}, "--rate: give numbers above 0"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: dict[str, object], reason: str) -> None:
    """In one line, before anything is sent."""
    with pytest.raises(UserError, match=reason):
        validated(LoadConfig, {"address": "a:1"} | options)
