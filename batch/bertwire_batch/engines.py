"""What answers the texts of a job: servers, or a bundle in this process."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Protocol

from bertwire_batch.answers import Text, Unfinished
from bertwire_batch.caller import Caller
from bertwire_batch.config import JobConfig
from bertwire_batch.tally import Tally
from bertwire_client.aio import AsyncClient
from bertwire_client.errors import NotFoundError
from bertwire_client.replies import Embedding, ModelInfo, Result
from bertwire_client.requests import EmbedOptions, Options
from bertwire_core.console import err
from bertwire_core.errors import UserError
from bertwire_core.files import partial_path


class Engine(Protocol):
    """One server, or one bundle.

    Attributes:
        name: for messages.
        calls: most calls in flight at once.
        sha256: what identifies a bundle; None for a server, which keeps a version as it is.
    """

    name: str
    calls: int
    sha256: str | None

    async def classify(self, texts: Sequence[Text], options: Options) -> list[Result | str]:
        """Return each text's result, or why it has none. Raise `UserError` where no text can be answered any more."""

    async def embed(self, texts: Sequence[str], options: EmbedOptions) -> list[Embedding | str]:
        """Return each text's vector, or why it has none. Raise `UserError` where no text can be answered any more."""


@asynccontextmanager
async def opened_engines(
    config: JobConfig, before: Unfinished | None, tally: Tally
) -> AsyncIterator[tuple[ModelInfo, list[Engine]]]:
    """Connect to the servers, or load the bundle; yield the model and what answers.

    Args:
        config: the job's settings.
        before: the run to go on with, whose version of the model is asked for again.
        tally: counts the answered calls.

    Raises:
        UserError: there is no such model, or no server takes calls.
    """
    if config.bundle is not None:
        yield _in_process(config.bundle, tally)
        return
    name, version = config.model, config.model_version
    if pinned := before is not None and name in ("", before.about["model"]) and not version:
        name, version = before.about["model"], before.about["version"]
    async with AsyncExitStack() as stack:
        credentials = config.credentials()
        callers, reached = [], before is not None and before.filled
        for address in config.server:
            # One try: the caller must hear of every refusal to send less.
            client = await stack.enter_async_context(
                AsyncClient(address, timeout=config.timeout, attempts=1, **credentials)
            )
            callers.append(Caller(client, address, config, tally, reached=reached))
        try:
            found = await _same_model(callers, name, version)
        except NotFoundError as error:
            if not pinned:
                raise
            raise UserError(
                f"{error}; serve version {version} of {name} again, by which the unfinished run began, or remove "
                f"{partial_path(config.output)} to start anew"
            ) from error
        yield found


def _in_process(path: Path, tally: Tally) -> tuple[ModelInfo, list[Engine]]:
    try:
        from bertwire_batch.bundle import InProcess
    except ModuleNotFoundError as error:
        raise UserError(
            f"--bundle needs {error.name}: pip install '.[serve,cpu]' in the folder of bertwire's source"
        ) from None
    engine = InProcess(path, tally)
    return engine.model, [engine]


async def _same_model(callers: list[Caller], name: str, version: str) -> tuple[ModelInfo, list[Engine]]:
    """Return the model, and the servers that have it; those that do not answer, or have another, are left out."""
    model: ModelInfo | None = None
    engines: list[Engine] = []
    for caller in callers:
        try:
            found = await caller.model(name, version)
        except UserError as error:
            if caller is callers[-1] and not engines:
                raise
            tell_left_out(caller.name, error)
            continue
        model, (name, version) = found, (found.name, found.version)
        engines.append(caller)
    assert model is not None  # noqa: S101 - the last server raises where none has it
    return model, engines


def tell_left_out(name: str, error: Exception) -> None:
    """Print that a job goes on without a server."""
    err.print(f"going on without {name}: {error}", markup=False, highlight=False, soft_wrap=True)
