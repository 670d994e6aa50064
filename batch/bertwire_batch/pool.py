"""Texts to engines: each chunk goes to the next that is free."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Generic, TypeVar

from bertwire_batch.answers import Kept, Text
from bertwire_batch.engines import Engine, tell_left_out
from bertwire_core.errors import UserError

T = TypeVar("T")
# Texts with their keys.
Chunk = Sequence[tuple[bytes, Text]]


class _Work(Generic[T]):
    """Chunks, of which those that an engine could not answer come again."""

    def __init__(self, chunks: Iterator[T]) -> None:
        self._chunks = chunks
        self.returned: list[T] = []

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        return self.returned.pop() if self.returned else next(self._chunks)


async def answer_chunks(
    chunks: Iterator[Chunk],
    engines: list[Engine],
    ask: Callable[[Engine, list[Text]], Awaitable[list[Kept]]],
    keep: Callable[[Chunk, list[Kept]], None],
) -> None:
    """Have the engines answer all chunks, in any order.

    Args:
        chunks: the texts.
        engines: what answers; one that fails is removed from the list while there are others.
        ask: returns an engine's answers to some texts.
        keep: takes the answers to a chunk.

    Raises:
        UserError: the last engine failed.
    """
    work = _Work(chunks)
    while True:
        calls = [
            asyncio.ensure_future(_calls(work, each, engines, ask, keep)) for each in engines for _ in range(each.calls)
        ]
        try:
            await asyncio.gather(*calls)
        finally:
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)
        # The last chunks may have come back from an engine when all calls of the others had ended.
        if not work.returned:
            return


async def _calls(
    work: _Work[Chunk],
    engine: Engine,
    engines: list[Engine],
    ask: Callable[[Engine, list[Text]], Awaitable[list[Kept]]],
    keep: Callable[[Chunk, list[Kept]], None],
) -> None:
    """Answer one chunk after the other by an engine, as long as it is one of those."""
    for chunk in work:
        try:
            answers = await ask(engine, [text for _, text in chunk])
        except UserError as error:
            if engines == [engine]:
                raise
            work.returned.append(chunk)
            if engine in engines:
                engines.remove(engine)
                tell_left_out(engine.name, error)
            return
        keep(chunk, answers)
        if engine not in engines:
            return
