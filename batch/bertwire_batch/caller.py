"""Calls with retries over overload and restarts, and bisection of batches that fail for one of their texts."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeVar

import grpc

from bertwire_batch.answers import Text
from bertwire_batch.config import JobConfig
from bertwire_batch.tally import Tally
from bertwire_batch.window import Window
from bertwire_client.aio import AsyncClient
from bertwire_client.errors import DeadlineExceededError, RequestError, UnavailableError
from bertwire_client.replies import Embedding, EmbedReply, ModelInfo, Reply, Result
from bertwire_client.requests import EmbedOptions, Options
from bertwire_client.wire import is_too_large
from bertwire_core.console import err
from bertwire_core.errors import UserError

Answered = TypeVar("Answered")
AnyReply = TypeVar("AnyReply", Reply, EmbedReply)
Found = TypeVar("Found", Result, Embedding)
# Sends one call for some texts, and returns the result of each.
Send = Callable[[Sequence[Text]], Awaitable[Sequence[Found]]]

# Tries of a single text that exceeds the timeout; the first may have been slowed by other load.
SLOW_TRIES = 2
# Timeouts without any answer after which a connected server counts as hung; fewer would give up on consecutive slow
# texts.
SILENT_TIMEOUTS = 10
# Seconds without an answer after which it is said that a server is waited for; halved, it is said in more restarts.
TOLD_SECONDS = 1.0

# Codes that every other row would fail with too.
_HOPELESS = {
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED,
}
# Codes of a call that the server or a proxy did not take; CANCELLED comes from a stopping server.
_NOT_TAKEN = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.RESOURCE_EXHAUSTED}
# Codes that a single text can cause: invalid, too slow, or failing in the model.
_ONE_TEXT = {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.INTERNAL}


def pause(tries: int) -> float:
    """Return the backoff in seconds after `tries` failed tries: at most 5, with jitter."""
    return min(0.1 * 2.0 ** min(tries - 1, 10), 5.0) * random.uniform(0.5, 1.5)  # noqa: S311 - no secret depends on it


class Caller:
    """Calls of one server, with retries; see `Engine`.

    Args:
        client: connected to the server.
        address: its address, for messages.
        config: how long a call may take, and how long to wait for a server that takes none: unreachable, warming up or
            overloaded.
        tally: counts the answered calls.
        reached: whether it has answered before, in a run that goes on; otherwise it is not waited for until it does.
    """

    sha256: str | None = None

    def __init__(
        self, client: AsyncClient, address: str, config: JobConfig, tally: Tally, *, reached: bool = False
    ) -> None:
        self._client, self._address, self._tally = client, address, tally
        self.name, self.calls = f"the server at {address}", config.concurrency
        self._window = Window(config.concurrency)
        self._max_outage = config.max_outage
        self._max_silence = config.max_outage + SILENT_TIMEOUTS * config.timeout
        self._reached = reached
        self._answered_at = time.monotonic()
        self._lost_since: float | None = None
        self._told = False

    async def model(self, name: str, version: str) -> ModelInfo:
        """Return a model's description, after its warm-up.

        Raises:
            UserError: the server was never reached, takes no calls any more, or cannot serve the model.
        """

        async def ask() -> ModelInfo:
            info = await self._client.get_model(name, version)
            if info.state == "loading":
                raise UnavailableError(grpc.StatusCode.UNAVAILABLE, f"model {info.name} is warming up")
            return info

        info = await self._answer(ask, texts=1)
        if info.state != "ready":
            raise UserError(
                f"model {info.name} version {info.version} is {info.state}: {info.reason or 'no reason given'}"
            )
        return info

    async def classify(self, texts: Sequence[Text], options: Options) -> list[Result | str]:
        """Return each text's result, or why it has none; errors are those of `_by_text`."""

        async def send(some: Sequence[Text]) -> Sequence[Result]:
            firsts = [text if isinstance(text, str) else text[0] for text in some]
            seconds = [text[1] for text in some if not isinstance(text, str)]
            reply = await self._timed(self._client.classify(firsts, text_pairs=seconds or None, **options), len(some))
            return reply.results

        return await self._by_text(texts, send)

    async def embed(self, texts: Sequence[str], options: EmbedOptions) -> list[Embedding | str]:
        """Return each text's vector, or why it has none; errors are those of `_by_text`."""

        async def send(some: Sequence[Text]) -> Sequence[Embedding]:
            reply = await self._timed(self._client.embed_reply([str(text) for text in some], **options), len(some))
            return reply.embeddings

        return await self._by_text(texts, send)

    async def _timed(self, call: Awaitable[AnyReply], texts: int) -> AnyReply:
        started = time.perf_counter()
        reply = await call
        self._tally.answered(texts, time.perf_counter() - started)
        return reply

    async def _by_text(self, texts: Sequence[Text], send: Send[Found]) -> list[Found | str]:
        """Return each text's result, or why it has none.

        A call that may have failed for one of its texts is bisected until the failing texts are alone.

        Raises:
            UserError: the server was never reached, or takes no calls any more.
            RequestError: the failure concerns all texts, such as a missing model.
        """
        if not texts:
            return []
        try:
            return list(await self._answer(partial(send, texts), len(texts)))
        except RequestError as error:
            if error.code in _HOPELESS:
                raise
            if len(texts) == 1 or not (error.code in _ONE_TEXT or is_too_large(error)):
                return [str(error)] * len(texts)
        middle = len(texts) // 2
        return await self._by_text(texts[:middle], send) + await self._by_text(texts[middle:], send)

    async def _answer(self, ask: Callable[[], Awaitable[Answered]], texts: int) -> Answered:
        tries = slow = 0
        while True:
            try:
                return await self._once(ask)
            except DeadlineExceededError as error:
                wait = 0.0
                if self._client.connected:
                    slow += 1
                    self._check_silence(error)
                    if texts > 1 or slow == SLOW_TRIES:
                        raise
                else:
                    self._check_outage(error)
            except RequestError as error:
                if error.code not in _NOT_TAKEN or is_too_large(error):
                    raise
                self._check_outage(error)
                wait = error.retry_after or 0.0
            tries += 1
            await asyncio.sleep(max(pause(tries), wait))

    async def _once(self, ask: Callable[[], Awaitable[Answered]]) -> Answered:
        try:
            answered = await self._window.run(ask)
        except RequestError as error:
            if error.code not in _NOT_TAKEN and not isinstance(error, DeadlineExceededError):
                self._progressed()
            raise
        self._progressed()
        return answered

    def _progressed(self) -> None:
        self._reached, self._lost_since, self._answered_at = True, None, time.monotonic()
        if self._told:
            self._told = False
            _tell(f"{self.name} answers again")

    def _check_outage(self, error: RequestError) -> None:
        # A failure over an established connection is the server's own, which may be warming up.
        self._reached = self._reached or self._client.connected
        if not self._reached:
            raise UserError(f"no server answers at {self._address}: {error.message}")
        now = time.monotonic()
        self._lost_since = self._lost_since or now
        lost = now - self._lost_since
        if lost >= self._max_outage:
            raise self._given_up(f"took no call for {self._max_outage:g} s", error)
        if lost >= TOLD_SECONDS and not self._told:
            self._told = True
            _tell(f"{self.name} takes no call ({error}); waiting for it, {self._max_outage:g} s at most")

    def _check_silence(self, error: RequestError) -> None:
        silence = time.monotonic() - self._answered_at
        if silence >= self._max_silence:
            raise self._given_up(f"answered no call for {silence:.1f} s", error)

    def _given_up(self, what: str, error: RequestError) -> UserError:
        return UserError(f"{self.name} {what}: {error}")


def _tell(line: str) -> None:
    err.print(line, markup=False, highlight=False, soft_wrap=True)
