"""Callers that go on through restarts, and what becomes of what they send."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from itertools import count

import grpc
import grpc.aio

from bench.calls import request
from bertwire.v1.classifier_pb2_grpc import ClassifierStub
from bertwire_client import Answer, AsyncClient
from bertwire_client.errors import RequestError

# Seconds that a call may take; far more than any does, so that what fails does not fail for a slow machine.
_TIMEOUT_SECONDS = 60.0
_RETRIES = {
    "name": [{"service": "bertwire.v1.Classifier"}],
    "retryPolicy": {
        "maxAttempts": 5,
        "initialBackoff": "0.05s",
        "maxBackoff": "1s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
    },
}


@dataclass(frozen=True)
class Rates:
    """How much is sent.

    Attributes:
        plain: unary calls a second that nobody tries again.
        retried: those that gRPC tries again.
        messages: messages a second of one stream.
    """

    plain: float = 100.0
    retried: float = 25.0
    messages: float = 25.0


@dataclass
class Found:
    """What became of it.

    Attributes:
        plain: calls without retries by status.
        retried: calls with gRPC's retries by status.
        messages: messages of the stream by status: LOST where there was no answer, two where there were two.
        failures: when the calls of the first two failed, in seconds from the beginning, and with what.
    """

    plain: Counter[str] = field(default_factory=Counter)
    retried: Counter[str] = field(default_factory=Counter)
    messages: Counter[str] = field(default_factory=Counter)
    failures: list[tuple[float, str]] = field(default_factory=list)


async def load(address: str, texts: Sequence[str], rates: Rates, over: asyncio.Event) -> Found:
    """Sends all three kinds until `over` is set, at random moments; gives what became of them when all have ended."""
    found, begun = Found(), asyncio.get_running_loop().time()

    def calls(statuses: Counter[str], *, retries: bool) -> Callable[[str], Coroutine[None, None, None]]:
        channel = _channel(address, retries=retries)
        channels.append(channel)
        stub = ClassifierStub(channel)

        async def call(text: str) -> None:
            try:
                await stub.Classify(request([text]), timeout=_TIMEOUT_SECONDS)
                statuses["OK"] += 1
            except grpc.aio.AioRpcError as error:
                statuses[error.code().name] += 1
                when = asyncio.get_running_loop().time() - begun
                found.failures.append((round(when, 3), f"{error.code().name}: {error.details()}"))

        return call

    channels: list[grpc.aio.Channel] = []
    try:
        async with asyncio.TaskGroup() as group:
            streaming = group.create_task(_stream(address, rates.messages, texts, over))
            group.create_task(_at_random(rates.plain, texts, calls(found.plain, retries=False), over))
            group.create_task(_at_random(rates.retried, texts, calls(found.retried, retries=True), over))
        found.messages = streaming.result()
    finally:
        for each in channels:
            await each.close()
    return found


def _channel(address: str, *, retries: bool) -> grpc.aio.Channel:
    config: dict[str, object] = {"methodConfig": [_RETRIES] if retries else []}
    if "," in address:
        # Not through a proxy: the health of one server is not that of the proxy.
        config |= {"loadBalancingConfig": [{"round_robin": {}}], "healthCheckConfig": {"serviceName": ""}}
    options = (
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.enable_retries", int(retries)),
        ("grpc.service_config", json.dumps(config)),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 1000),
    )
    return grpc.aio.insecure_channel(address, options=options)


async def _at_random(
    rate: float, texts: Sequence[str], call: Callable[[str], Coroutine[None, None, None]], over: asyncio.Event
) -> None:
    """Makes so many calls a second, whether or not those before have ended."""
    async with asyncio.TaskGroup() as group:
        async for index in _moments(rate, over):
            group.create_task(call(texts[index % len(texts)]))


async def _stream(address: str, rate: float, texts: Sequence[str], over: asyncio.Event) -> Counter[str]:
    outcomes: dict[int, str] = {}

    async def items() -> AsyncIterator[str]:
        async for index in _moments(rate, over):
            outcomes[index] = "LOST"
            yield texts[index % len(texts)]

    async with AsyncClient(address, timeout=_TIMEOUT_SECONDS) as client:
        async for answer in client.stream(items(), top_k=1):
            outcome = _outcome(answer)
            first = outcomes[answer.index] == "LOST"
            outcomes[answer.index] = outcome if first else f"{outcomes[answer.index]} and {outcome}"
    return Counter(outcomes.values())


def _outcome(answer: Answer) -> str:
    try:
        return "OK" if len(answer.reply.results) == 1 else "WRONG"
    except RequestError as error:
        return error.code.name


async def _moments(rate: float, over: asyncio.Event) -> AsyncIterator[int]:
    """Numbers from 0 on, so many a second, at the moments of a Poisson process."""
    loop, generator = asyncio.get_running_loop(), random.Random(1)  # noqa: S311 - no secret
    due = loop.time()
    for index in count():
        due += generator.expovariate(rate)
        try:
            async with asyncio.timeout_at(due):
                await over.wait()
        except TimeoutError:
            yield index
            continue
        return
