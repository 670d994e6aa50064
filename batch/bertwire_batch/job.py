"""A scoring job: reader, concurrent calls, ordered writer."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from contextlib import ExitStack
from pathlib import Path

from bertwire_batch.caller import Caller
from bertwire_batch.columns import TEXT_PAIR, Form, Outcome, choose_form
from bertwire_batch.config import ScoreConfig
from bertwire_batch.tally import Summary, Tally
from bertwire_batch.wakeup import woken_by_signals
from bertwire_client.aio import AsyncClient
from bertwire_client.replies import ModelInfo
from bertwire_client.requests import Options
from bertwire_core.console import Bar, err, progress
from bertwire_core.errors import UserError
from bertwire_core.files import in_use, require_absent, whole_file
from bertwire_data.tables import Batch, TableReader, TableWriter, create_table, open_table


def score_file(config: ScoreConfig) -> Summary:
    """Score a file; the output appears when all rows are done, failed ones included.

    Shows progress on standard error. Must not be called inside a running event loop.

    Raises:
        UserError: a file is invalid or the server cannot be used; no output is left.
    """
    tally = Tally()
    with ExitStack() as stack:
        stack.enter_context(in_use(config.output))
        require_absent(config.output, overwrite=config.overwrite)
        reader = stack.enter_context(open_table(config.input, config.sheet))
        for remark in reader.remarks:
            err.print(remark, markup=False, highlight=False, soft_wrap=True)
        _require_column(config, reader, config.text_column, "--text-column")
        output = stack.enter_context(whole_file(config.output))
        bar = stack.enter_context(progress("score", reader.size))
        asyncio.run(_score(config, reader, output, tally, bar))
    return tally.summary()


def _require_column(config: ScoreConfig, reader: TableReader, column: str, option: str) -> None:
    if reader.columns is not None and column not in reader.columns:
        raise UserError(
            f"{config.input} has no column {column!r} but {', '.join(map(repr, reader.columns))}; "
            f"choose one with {option}"
        )


async def _score(config: ScoreConfig, reader: TableReader, output: Path, tally: Tally, bar: Bar) -> None:
    credentials = config.credentials()
    with woken_by_signals():
        async with AsyncClient(config.address, timeout=config.timeout, **credentials) as client:
            caller = Caller(client, config.address, timeout=config.timeout, max_outage=config.max_outage, tally=tally)
            form = _form(config, reader, await caller.model(config.model, config.model_version))
            with create_table(output, reader, form.added_columns()) as writer:
                await _score_rows(config, form, caller, reader, writer, tally, bar)


def _form(config: ScoreConfig, reader: TableReader, model: ModelInfo) -> Form:
    try:
        form = choose_form(config, model)
    except ValueError as error:
        raise UserError(str(error)) from None
    if len(form.texts) > 1:
        _require_column(config, reader, form.texts[1], "--text-pair-column")
    elif TEXT_PAIR in (reader.columns or ()):
        err.print(f"column {TEXT_PAIR!r} is not read: the model reads single texts", highlight=False, soft_wrap=True)
    return form


async def _score_rows(
    config: ScoreConfig, form: Form, caller: Caller, reader: TableReader, writer: TableWriter, tally: Tally, bar: Bar
) -> None:
    slots = asyncio.Semaphore(config.concurrency)
    options: Options = {
        "top_k": form.top_k,
        "model": config.model,
        "model_version": config.model_version,
        "threshold": config.threshold,
        "priority": config.priority,
    }

    async def answer(batch: Batch) -> list[Outcome]:
        texts, faults = form.texts_and_faults(batch)
        # A call that is retried keeps its slot, which throttles the job.
        async with slots:
            outcomes = iter(await caller.classify(texts, options))
        return [fault or next(outcomes) for fault in faults]

    def write(batch: Batch, outcomes: list[Outcome]) -> None:
        writer.write(batch, [form.added_values(outcome) for outcome in outcomes])
        tally.written([outcome if isinstance(outcome, str) else None for outcome in outcomes])
        bar(reader.position(), tally.note())

    # Twice the concurrency, so that a slow call at the head does not idle the other slots at once.
    await in_order(reader.batches(config.batch_size), answer, write, window=2 * config.concurrency)


async def in_order(
    batches: Iterable[Batch],
    answer: Callable[[Batch], Awaitable[list[Outcome]]],
    write: Callable[[Batch, list[Outcome]], None],
    window: int,
) -> None:
    """Answer batches concurrently and write them in order, holding at most `window` of them."""
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
