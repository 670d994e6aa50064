"""Calls of prepared bytes on raw stubs, at the least cost that Python has: the client is not what is measured."""

import gc
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import cycle
from time import perf_counter
from typing import Self

import grpc.aio
import numpy as np
import psutil

from bench.figures import OK, Ended
from bertwire.v1.classifier_pb2 import ClassifyRequest
from bertwire_core.errors import UserError

# A channel is one connection only where it does not share those of others; a retry would hide a refusal.
OPTIONS = (("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0))
_METHOD = "/bertwire.v1.Classifier/Classify"


@dataclass(frozen=True)
class Target:
    """What is measured.

    Attributes:
        address: where the server listens.
        server: its process.
        texts: the texts to send, in order of arrival.
    """

    address: str
    server: psutil.Process
    texts: list[str]

    def cpu_ms(self) -> float:
        """Return the CPU time that the server has taken so far, all threads, in milliseconds."""
        # Linux's number for the clock of another process; /proc counts in steps of 10 ms.
        return time.clock_gettime((~self.server.pid << 3) | 2) * 1e3

    def requests(self, texts_each: int = 1, most: int | None = None) -> list[bytes]:
        """Return serialized requests of the first `most` texts, `texts_each` in each; a smaller rest is left out."""
        texts = self.texts[:most]
        whole = range(0, len(texts) - texts_each + 1, texts_each)
        return [request(texts[start : start + texts_each]).SerializeToString() for start in whole]


def request(texts: Sequence[str]) -> ClassifyRequest:
    """Return the request that every mode makes."""
    return ClassifyRequest(texts=texts, top_k=1)


@dataclass
class Calls:
    """A record of the calls that have ended."""

    _begun: list[float] = field(default_factory=list)
    _ended: list[float] = field(default_factory=list)
    _codes: list[int] = field(default_factory=list)

    def note(self, begun: float, code: grpc.StatusCode) -> None:
        """Record a call that ends now."""
        self._begun.append(begun)
        self._ended.append(perf_counter())
        self._codes.append(code.value[0])

    def all(self) -> Ended:
        """Return all that is recorded."""
        return Ended(np.array(self._begun), np.array(self._ended), np.array(self._codes, dtype=np.int64))


class Caller:
    """A client with one or several connections, which take turns."""

    def __init__(self, address: str, connections: int = 1) -> None:
        self._channels = [grpc.aio.insecure_channel(address, options=OPTIONS) for _ in range(connections)]
        self._methods: cycle[grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]] = cycle(
            [channel.unary_unary(_METHOD) for channel in self._channels]
        )

    async def __aenter__(self) -> Self:
        for channel in self._channels:
            await channel.channel_ready()
        # What is there now stays: a full collection would stop the client for no use.
        gc.freeze()
        return self

    async def __aexit__(self, *_: object) -> None:
        for channel in self._channels:
            await channel.close()

    async def call(self, message: bytes, calls: Calls, timeout: float | None = None) -> grpc.StatusCode:  # noqa: ASYNC109
        """Make one call, record it and return its status; `timeout` is the gRPC deadline in seconds."""
        begun = perf_counter()
        code = OK
        try:
            await next(self._methods)(message, timeout=timeout)
        except grpc.aio.AioRpcError as error:
            code = error.code()
        calls.note(begun, code)
        return code

    async def must(self, message: bytes, calls: Calls) -> None:
        """Make one call without a deadline and record it.

        Raises:
            UserError: it is not answered; figures of fewer calls would not be comparable.
        """
        code = await self.call(message, calls)
        if code is not OK:
            raise UserError(f"a call without a deadline ended {code.name}")
