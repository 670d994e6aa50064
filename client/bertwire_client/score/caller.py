"""Calls that outlast a full queue and a restart of the server, and find the texts that a call fails for."""

import asyncio
import random
import time
from collections.abc import Sequence

import grpc

from bertwire_client.aio import AsyncClient
from bertwire_client.errors import (
    DeadlineExceededError,
    InvalidArgumentError,
    RequestError,
    ResourceExhaustedError,
    UnavailableError,
    UserError,
)
from bertwire_client.replies import Reply
from bertwire_client.score.columns import Outcome
from bertwire_client.score.tally import Tally

# A full queue is given 8 tries, with pauses from 0.1 s that double up to 5 s: some 10 s in all.
BUSY_TRIES = 8

# Every other row would fail in the same way.
_HOPELESS = {
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED,
}


def pause(tries: int) -> float:
    """Seconds to wait after `tries` failed tries, spread so that calls do not come back all at once."""
    return min(0.1 * 2.0 ** (tries - 1), 5.0) * random.uniform(0.5, 1.5)  # noqa: S311 - no secret depends on it


class Caller:
    """Classifies the texts of a job.

    Args:
        client: the connection to the server.
        address: the server's address, for messages.
        model: the model to ask; empty: the server's.
        top_k: labels to return for a text; None: all.
        max_outage: seconds to wait for a server that goes away.
        tally: counts the answered calls.
    """

    def __init__(
        self, client: AsyncClient, address: str, *, model: str, top_k: int | None, max_outage: float, tally: Tally
    ) -> None:
        self._client, self._address, self._tally = client, address, tally
        self._model, self._top_k, self._max_outage = model, top_k, max_outage
        self._reached = False
        self._lost_since: float | None = None

    async def classify(self, texts: Sequence[str]) -> list[Outcome]:
        """Gives each text's result, or why it has none.

        A call that fails for a fault of its request is sent again in halves, until the faulty texts stand alone.

        Raises:
            UserError: no further text could be classified: the server was never reached or stays away, or does not
                have the model.
        """
        if not texts:
            return []
        try:
            return list((await self._answer(texts)).results)
        except RequestError as error:
            if error.code in _HOPELESS:
                raise
            if len(texts) == 1 or not _blames_request(error):
                return [str(error)] * len(texts)
        middle = len(texts) // 2
        return await self.classify(texts[:middle]) + await self.classify(texts[middle:])

    async def _answer(self, texts: Sequence[str]) -> Reply:
        busy = away = 0
        while True:
            try:
                return await self._call(texts)
            except ResourceExhaustedError as error:
                busy += 1
                if busy == BUSY_TRIES or _blames_request(error):
                    raise
                await asyncio.sleep(pause(busy))
            except (UnavailableError, DeadlineExceededError) as error:
                if isinstance(error, DeadlineExceededError) and self._client.connected:
                    raise
                away += 1
                self._check_outage(error)
                await asyncio.sleep(pause(away))

    async def _call(self, texts: Sequence[str]) -> Reply:
        started = time.perf_counter()
        try:
            reply = await self._client.classify(texts, top_k=self._top_k, model=self._model)
        except (UnavailableError, DeadlineExceededError):
            raise
        except RequestError:
            self._reached, self._lost_since = True, None
            raise
        self._reached, self._lost_since = True, None
        self._tally.answered(reply, time.perf_counter() - started)
        return reply

    def _check_outage(self, error: RequestError) -> None:
        if not self._reached:
            raise UserError(f"no server answers at {self._address}: {error.message}")
        now = time.monotonic()
        self._lost_since = self._lost_since or now
        if now - self._lost_since >= self._max_outage:
            raise UserError(
                f"the server at {self._address} went away and did not come back within {self._max_outage:g} s; "
                f"{self._tally.rows} rows were done, and no output is left: {error.message}"
            )


def _blames_request(error: RequestError) -> bool:
    # gRPC itself turns away a message above a size limit, with the code of a full queue.
    return isinstance(error, InvalidArgumentError) or "larger than max" in error.message
