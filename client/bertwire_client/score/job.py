"""One scoring job: reader, calls in flight, ordered writer."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from contextlib import ExitStack

from bertwire_client.aio import AsyncClient
from bertwire_client.channel import read_api_key, tls_credentials
from bertwire_client.console import Bar, progress
from bertwire_client.errors import UserError
from bertwire_client.files import require_absent, whole_file
from bertwire_client.score.caller import Caller
from bertwire_client.score.columns import Outcome, added_columns, added_values, texts_and_faults
from bertwire_client.score.config import ScoreConfig
from bertwire_client.score.tally import Summary, Tally
from bertwire_client.tables import Batch, TableReader, TableWriter, create_table, open_table


def score_file(config: ScoreConfig) -> Summary:
    """Scores a file; the output appears when all rows are done, those that failed included.

    Shows progress on standard error. Must not be called inside a running event loop.

    Raises:
        UserError: the files are not as they must be, or the server cannot be used; no output is left.
    """
    require_absent(config.output, overwrite=config.overwrite)
    tally = Tally()
    with ExitStack() as stack:
        reader = stack.enter_context(open_table(config.input))
        if reader.columns is not None and config.text_column not in reader.columns:
            raise UserError(
                f"{config.input} has no column {config.text_column!r} but {', '.join(map(repr, reader.columns))}; "
                "choose one with --text-column"
            )
        output = stack.enter_context(whole_file(config.output))
        writer = stack.enter_context(
            create_table(output, reader, added_columns(config.prefix, all_scores=config.all_scores))
        )
        bar = stack.enter_context(progress("score", reader.size))
        asyncio.run(_score(config, reader, writer, tally, bar))
    return tally.summary()


async def _score(config: ScoreConfig, reader: TableReader, writer: TableWriter, tally: Tally, bar: Bar) -> None:
    slots = asyncio.Semaphore(config.concurrency)
    credentials = None
    if config.tls_ca is not None:
        credentials = tls_credentials(config.tls_ca, config.tls_certificate, config.tls_key)
    api_key = read_api_key(config.api_key_file)

    async def answer(batch: Batch) -> list[Outcome]:
        texts, faults = texts_and_faults(batch, config.text_column)
        # A call that waits for a full queue keeps its slot: that is how the job slows down.
        async with slots:
            outcomes = iter(await caller.classify(texts))
        return [fault or next(outcomes) for fault in faults]

    def write(batch: Batch, outcomes: list[Outcome]) -> None:
        writer.write(batch, [added_values(outcome, config.prefix) for outcome in outcomes])
        tally.written(len(outcomes), sum(isinstance(outcome, str) for outcome in outcomes))
        bar(reader.position(), tally.note())

    async with AsyncClient(config.address, timeout=config.timeout, credentials=credentials, api_key=api_key) as client:
        caller = Caller(
            client,
            config.address,
            model=config.model,
            top_k=None if config.all_scores else 1,
            timeout=config.timeout,
            max_outage=config.max_outage,
            tally=tally,
        )
        # Twice the calls in flight, so that a slow call at the head does not leave the other slots idle at once.
        await in_order(reader.batches(config.batch_size), answer, write, window=2 * config.concurrency)


async def in_order(
    batches: Iterable[Batch],
    answer: Callable[[Batch], Awaitable[list[Outcome]]],
    write: Callable[[Batch, list[Outcome]], None],
    window: int,
) -> None:
    """Answers batches concurrently and writes them in their order; at most `window` of them are held at a time."""
    held: deque[tuple[Batch, asyncio.Future[list[Outcome]]]] = deque()
    try:
        for batch in batches:
            held.append((batch, asyncio.ensure_future(answer(batch))))
            if len(held) == window:
                await _write_first(held, write)
        while held:
            await _write_first(held, write)
    finally:
        for _, pending in held:
            pending.cancel()
        await asyncio.gather(*(pending for _, pending in held), return_exceptions=True)


async def _write_first(
    held: deque[tuple[Batch, asyncio.Future[list[Outcome]]]], write: Callable[[Batch, list[Outcome]], None]
) -> None:
    batch, pending = held[0]
    outcomes = await pending
    held.popleft()
    write(batch, outcomes)
