"""Turns of the event loop."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


async def turns() -> None:
    """Let everything run that can."""
    for _ in range(20):
        await asyncio.sleep(0)


async def turns_during(work: Coroutine[Any, Any, Result]) -> tuple[Result, int]:
    """Return the result of `work`, and how often another task ran meanwhile."""
    ran = 0

    async def count() -> None:
        nonlocal ran
        while True:
            ran += 1
            await asyncio.sleep(0)

    counter = asyncio.create_task(count())
    result = await work
    counter.cancel()
    return result, ran
