"""A job over a file: reader, concurrent calls, ordered writer."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from bertwire_batch.caller import Caller
from bertwire_batch.columns import TEXT_PAIR, Form, Outcome, Text, choose_form
from bertwire_batch.config import JobConfig, ScoreConfig
from bertwire_batch.tally import Summary, Tally
from bertwire_batch.wakeup import woken_by_signals
from bertwire_client.aio import AsyncClient
from bertwire_client.replies import Embedding, ModelInfo, Result
from bertwire_client.requests import Options
from bertwire_core.console import Bar, err, progress
from bertwire_core.errors import UserError
from bertwire_core.files import in_use, require_absent, whole_file
from bertwire_data.tables import Batch, TableReader, create_table, open_table

ConfigT = TypeVar("ConfigT", bound=JobConfig)
Found = TypeVar("Found", Result, Embedding)


class Texts(Protocol):
    """Finds the texts of rows."""

    def texts_and_faults(self, batch: Batch) -> tuple[list[Text], list[str | None]]:
        """Return the texts of a batch, and per row why it has none, or None."""


@dataclass(frozen=True, slots=True)
class Job:
    """What a job reads, writes and counts.

    Attributes:
        output: where the output is written until it is whole.
    """

    reader: TableReader
    output: Path
    tally: Tally
    bar: Bar


def score_file(config: ScoreConfig) -> Summary:
    """Score a file; the output appears when all rows are done, failed ones included.

    Shows progress on standard error. Must not be called inside a running event loop.

    Raises:
        UserError: a file is invalid or the server cannot be used; no output is left.
    """
    return run_job(config, "score", _score)


def run_job(config: ConfigT, name: str, work: Callable[[ConfigT, Caller, Job], Awaitable[None]]) -> Summary:
    """Do the work of the job `name` over a file with a server, and return what was done."""
    tally = Tally()
    with ExitStack() as stack:
        stack.enter_context(in_use(config.output))
        require_absent(config.output, overwrite=config.overwrite)
        reader = stack.enter_context(open_table(config.input, config.sheet))
        for remark in reader.remarks:
            err.print(remark, markup=False, highlight=False, soft_wrap=True)
        require_column(config, reader, config.text_column, "--text-column")
        output = stack.enter_context(whole_file(config.output))
        bar = stack.enter_context(progress(name, reader.size))
        asyncio.run(_connected(config, work, Job(reader, output, tally, bar)))
    return tally.summary()


async def _connected(config: ConfigT, work: Callable[[ConfigT, Caller, Job], Awaitable[None]], job: Job) -> None:
    credentials = config.credentials()
    with woken_by_signals():
        async with AsyncClient(config.address, timeout=config.timeout, **credentials) as client:
            caller = Caller(
                client, config.address, timeout=config.timeout, max_outage=config.max_outage, tally=job.tally
            )
            await work(config, caller, job)


def require_column(config: JobConfig, reader: TableReader, column: str, option: str) -> None:
    """Raise `UserError` where a table lacks a column."""
    if reader.columns is not None and column not in reader.columns:
        raise UserError(
            f"{config.input} has no column {column!r} but {', '.join(map(repr, reader.columns))}; "
            f"choose one with {option}"
        )


async def _score(config: ScoreConfig, caller: Caller, job: Job) -> None:
    form = _form(config, job.reader, await caller.model(config.model, config.model_version))
    options: Options = {
        "top_k": form.top_k,
        "model": config.model,
        "model_version": config.model_version,
        "threshold": config.threshold,
        "priority": config.priority,
    }
    with create_table(job.output, job.reader, form.added_columns()) as writer:

        def write(batch: Batch, outcomes: list[Outcome]) -> None:
            writer.write(batch, [form.added_values(outcome) for outcome in outcomes])

        await run_rows(config, job, form, lambda texts: caller.classify(texts, options), write)


def _form(config: ScoreConfig, reader: TableReader, model: ModelInfo) -> Form:
    try:
        form = choose_form(config, model)
    except ValueError as error:
        raise UserError(str(error)) from None
    if len(form.texts) > 1:
        require_column(config, reader, form.texts[1], "--text-pair-column")
    elif TEXT_PAIR in (reader.columns or ()):
        err.print(f"column {TEXT_PAIR!r} is not read: the model reads single texts", highlight=False, soft_wrap=True)
    return form


async def run_rows(
    config: JobConfig,
    job: Job,
    form: Texts,
    ask: Callable[[list[Text]], Awaitable[list[Found | str]]],
    write: Callable[[Batch, list[Found | str]], None],
) -> None:
    """Ask for the results of all rows, and write them in order.

    Args:
        config: the job's settings.
        job: what is read and counted.
        form: finds the texts of a batch.
        ask: returns the result of each text, or why it has none.
        write: writes a batch with its results.
    """
    slots = asyncio.Semaphore(config.concurrency)

    async def answer(batch: Batch) -> list[Found | str]:
        texts, faults = form.texts_and_faults(batch)
        # A call that is retried keeps its slot, which throttles the job.
        async with slots:
            outcomes = iter(await ask(texts))
        return [fault or next(outcomes) for fault in faults]

    def written(batch: Batch, outcomes: list[Found | str]) -> None:
        write(batch, outcomes)
        job.tally.written([outcome if isinstance(outcome, str) else None for outcome in outcomes])
        job.bar(job.reader.position(), job.tally.note())

    # Twice the concurrency, so that a slow call at the head does not idle the other slots at once.
    await in_order(job.reader.batches(config.batch_size), answer, written, window=2 * config.concurrency)


async def in_order(
    batches: Iterable[Batch],
    answer: Callable[[Batch], Awaitable[list[Found | str]]],
    write: Callable[[Batch, list[Found | str]], None],
    window: int,
) -> None:
    """Answer batches concurrently and write them in order, holding at most `window` of them."""
    held: deque[tuple[Batch, asyncio.Future[list[Found | str]]]] = deque()
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
    held: deque[tuple[Batch, asyncio.Future[list[Found | str]]]], write: Callable[[Batch, list[Found | str]], None]
) -> None:
    batch, pending = held[0]
    outcomes = await pending
    held.popleft()
    write(batch, outcomes)
