"""Calls that outlast a full queue and a restart of the server, and find the texts that a call fails for."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import grpc

from bertwire_batch.columns import Outcome, Text
from bertwire_batch.tally import Tally
from bertwire_client.aio import AsyncClient
from bertwire_client.errors import DeadlineExceededError, RequestError, UnavailableError
from bertwire_client.replies import ModelInfo, Reply
from bertwire_client.requests import Options
from bertwire_client.wire import is_too_large
from bertwire_core.errors import UserError

Answered = TypeVar("Answered")

# A text that is too slow alone may have been slowed by others once.
SLOW_TRIES = 2
# A server that keeps its connection and answers nothing: one slow text after another is told from it by this patience.
SILENT_TIMEOUTS = 10

# Every other row would fail in the same way.
_HOPELESS = {
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED,
}
# The server, or what stands before it, did not take the call. CANCELLED comes of a server that stops.
_NOT_TAKEN = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.RESOURCE_EXHAUSTED}
# One text may be to blame: it is invalid, too slow, or nothing that the model can answer.
_ONE_TEXT = {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.INTERNAL}


def pause(tries: int) -> float:
    """Seconds to wait after `tries` failed tries: up to 5, spread so that calls do not come back all at once."""
    return min(0.1 * 2.0 ** min(tries - 1, 10), 5.0) * random.uniform(0.5, 1.5)  # noqa: S311 - no secret depends on it


class Caller:
    """Asks the server for the answers of a job.

    Args:
        client: the connection to the server.
        address: the server's address, for messages.
        timeout: the client's deadline of a call in seconds.
        max_outage: seconds to wait for a server that takes no call: away, warming up or overloaded.
        tally: counts the answered calls.
    """

    def __init__(self, client: AsyncClient, address: str, *, timeout: float, max_outage: float, tally: Tally) -> None:
        self._client, self._address, self._tally = client, address, tally
        self._max_outage, self._max_silence = max_outage, max_outage + SILENT_TIMEOUTS * timeout
        self._reached = False
        self._answered_at = time.monotonic()
        self._lost_since: float | None = None

    async def model(self, name: str, version: str) -> ModelInfo:
        """What the server says of a model, once that is ready.

        Raises:
            UserError: the server was never reached, takes no call any more, or cannot serve the model.
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

    async def classify(self, texts: Sequence[Text], options: Options) -> list[Outcome]:
        """Gives each text's result, or why it has none.

        A call that one of its texts may have failed is sent again in halves, until the faulty and the slow texts stand
        alone.

        Raises:
            UserError: no further text could be classified: the server was never reached, takes no call any more, or
                does not have the model.
        """
        if not texts:
            return []
        firsts = [text if isinstance(text, str) else text[0] for text in texts]
        seconds = [text[1] for text in texts if not isinstance(text, str)]

        async def ask() -> Reply:
            started = time.perf_counter()
            reply = await self._client.classify(firsts, text_pairs=seconds or None, **options)
            self._tally.answered(reply, time.perf_counter() - started)
            return reply

        try:
            return list((await self._answer(ask, len(texts))).results)
        except RequestError as error:
            if error.code in _HOPELESS:
                raise
            if len(texts) == 1 or not (error.code in _ONE_TEXT or is_too_large(error)):
                return [str(error)] * len(texts)
        middle = len(texts) // 2
        return await self.classify(texts[:middle], options) + await self.classify(texts[middle:], options)

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
            answered = await ask()
        except RequestError as error:
            if error.code not in _NOT_TAKEN and not isinstance(error, DeadlineExceededError):
                self._progressed()
            raise
        self._progressed()
        return answered

    def _progressed(self) -> None:
        self._reached, self._lost_since, self._answered_at = True, None, time.monotonic()

    def _check_outage(self, error: RequestError) -> None:
        # What comes over a standing connection was said by a server, which may be warming up.
        self._reached = self._reached or self._client.connected
        if not self._reached:
            raise UserError(f"no server answers at {self._address}: {error.message}")
        now = time.monotonic()
        self._lost_since = self._lost_since or now
        if now - self._lost_since >= self._max_outage:
            raise self._given_up(f"took no call for {self._max_outage:g} s", error)

    def _check_silence(self, error: RequestError) -> None:
        silence = time.monotonic() - self._answered_at
        if silence >= self._max_silence:
            raise self._given_up(f"answered no call for {silence:.1f} s", error)

    def _given_up(self, what: str, error: RequestError) -> UserError:
        return UserError(
            f"the server at {self._address} {what}; {self._tally.rows} rows were done, and no output is left: {error}"
        )
