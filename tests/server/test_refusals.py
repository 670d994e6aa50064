"""Refusals, on an event loop whose clock the test sets."""

from collections.abc import Callable
from typing import Any

import pytest

from bertwire_server.errors import Overloaded
from bertwire_server.refusals import Refusals


class Loop:
    """Its time passes when the test says so."""

    def __init__(self) -> None:
        self.now = 5.0
        self.timers: list[tuple[float, Callable[[], None]]] = []

    def time(self) -> float:
        """Seconds."""
        return self.now

    def call_later(self, seconds: float, function: Callable[[], None]) -> object:
        """Sets a timer."""
        self.timers.append((self.now + seconds, function))
        return object()

    def go_on(self, seconds: float) -> None:
        """Time passes."""
        end = self.now + seconds
        while due := min((each for each in self.timers if each[0] <= end), default=None, key=lambda each: each[0]):
            self.timers.remove(due)
            self.now = max(self.now, due[0])
            due[1]()
        self.now = end


class Refused:
    """Stands for the context of a call."""

    def __init__(self, loop: Loop) -> None:
        self.loop, self.ended = loop, list[tuple[Any, ...]]()

    def end(self, *status: object) -> None:
        """Keeps the status."""
        self.ended.append(status)


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> Loop:
    """The loop that everything runs on."""
    loop = Loop()
    monkeypatch.setattr("asyncio.get_running_loop", lambda: loop)
    return loop


def refuse(refusals: Refusals, loop: Loop, calls: int) -> list[Refused]:
    """Refuses so many calls at once."""
    refused = [Refused(loop) for _ in range(calls)]
    for each in refused:
        refusals.refuse(each, "/s/m", Overloaded("no", 0.01))  # type: ignore[arg-type]
    return refused


def test_few_are_refused_at_once(loop: Loop) -> None:
    """A thousand in a second are no flood."""
    refusals = Refusals()
    for _ in range(100):
        assert all(len(each.ended) == 1 for each in refuse(refusals, loop, 10))
        loop.go_on(0.01)
    assert not loop.timers


def test_in_a_flood_each_is_held_a_little(loop: Loop) -> None:
    """From the two hundredth in a tenth of a second on, for 12 to 15 ms, in order, each once, with the same status."""
    refusals = Refusals()
    refused = refuse(refusals, loop, 300)
    assert [bool(each.ended) for each in refused] == [True] * 199 + [False] * 101
    loop.go_on(0.006)
    later = refuse(refusals, loop, 50)
    loop.go_on(0.009)
    assert all(each.ended for each in refused)
    assert not any(each.ended for each in later)
    loop.go_on(0.006)
    assert all(len(each.ended) == 1 for each in (*refused, *later))
    assert len({each.ended[0] for each in (*refused, *later)}) == 1
    assert not loop.timers


async def test_in_a_flood_a_call_with_a_task_is_held_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as one without, in its own task; outside of floods at once."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr("bertwire_server.refusals.asyncio.sleep", sleep)
    refusals, loop = Refusals(), Loop()
    calls = [Refused(loop) for _ in range(201)]
    for each in calls:
        await refusals.refuse_in_task(each, "/s/m", Overloaded("no", 0.01))  # type: ignore[arg-type]
    assert slept == [0.012] * 2
    assert all(len(each.ended) == 1 for each in calls)


def test_a_refusal_that_fails_holds_up_no_other(loop: Loop) -> None:
    """Whatever one of them raises, the others end, now and in the next flood."""
    refusals = Refusals()
    refused = refuse(refusals, loop, 300)

    def raises(*_: object) -> None:
        raise RuntimeError("broken")

    refused[250].end = raises  # type: ignore[method-assign]
    loop.go_on(0.015)
    assert [each for each in refused if not each.ended] == [refused[250]]
    (later,) = refuse(refusals, loop, 1)
    loop.go_on(0.015)
    assert later.ended


def test_a_flood_passes(loop: Loop) -> None:
    """What comes in the next window is still held, what comes a while later not any more."""
    refusals = Refusals()
    refuse(refusals, loop, 300)
    loop.go_on(0.11)
    (held,) = refuse(refusals, loop, 1)
    assert not held.ended
    loop.go_on(0.5)
    (refused,) = refuse(refusals, loop, 1)
    assert refused.ended
