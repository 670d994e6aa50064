"""Deadlines of calls, and of requests that set their own."""

import asyncio
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import TypeVar

from bertwire_server.errors import DeadlineTooShort, Expired
from bertwire_server.rpc import Context

T = TypeVar("T")


def deadline(context: Context) -> float | None:
    """Return the caller's deadline on the clock of `time.perf_counter`; None for none."""
    remaining = context.time_remaining()
    return None if remaining is None else perf_counter() + remaining


async def within(seconds: float, what: str, until: float | None, answer: Callable[[float], Awaitable[T]]) -> T:
    """Return the result of `answer`, called with the earlier of the two deadlines.

    Args:
        seconds: the timeout that the request sets itself.
        what: its description for messages: `timeout of 30 microseconds`.
        until: the call's deadline, as of `deadline`.
        answer: answers the request by a deadline.

    Raises:
        Expired: the request's own timeout passed.
        DeadlineTooShort: it would pass before the answer is ready.
    """
    own = perf_counter() + seconds
    if until is not None and until <= own:
        return await answer(until)
    try:
        async with asyncio.timeout(seconds):
            return await answer(own)
    except (TimeoutError, Expired):
        raise Expired(f"the request's {what} passed before the answer was ready; allow more time") from None
    except DeadlineTooShort as error:
        reason = f"the answer cannot be ready within the request's {what}; slow down, or allow more time"
        raise DeadlineTooShort(reason, error.retry_after) from None
