"""How many calls are in flight to one server: more while it answers, half as many after a refusal."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from bertwire_client.errors import ResourceExhaustedError
from bertwire_client.wire import is_too_large

Answered = TypeVar("Answered")


class Window:
    """Calls that may be in flight, by additive increase and multiplicative decrease.

    A refusal (RESOURCE_EXHAUSTED) halves it, once for all calls that were in flight together; then as many answers as
    calls are in flight make room for one more.

    Args:
        most: calls at most, and at the start.
    """

    def __init__(self, most: int) -> None:
        self._most, self._size = most, float(most)
        self._in_flight = self._cuts = 0
        self._changed = asyncio.Condition()

    async def run(self, call: Callable[[], Awaitable[Answered]]) -> Answered:
        """Return what a call answers, once there is room for it; raise its error."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._in_flight < int(self._size))
            self._in_flight += 1
            cuts = self._cuts
        try:
            answered = await call()
        except ResourceExhaustedError as error:
            if cuts == self._cuts and not is_too_large(error):
                self._halve()
            raise
        else:
            self._grow()
            return answered
        finally:
            self._in_flight -= 1
            async with self._changed:
                self._changed.notify_all()

    def _grow(self) -> None:
        self._size = min(self._size + 1 / self._size, self._most)

    def _halve(self) -> None:
        self._size, self._cuts = max(self._size / 2, 1), self._cuts + 1
