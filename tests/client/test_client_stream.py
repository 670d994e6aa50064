"""Streams of both clients against a server that refuses, breaks and falls silent."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, closing
from itertools import repeat
from queue import Empty
from typing import Any

import grpc
import pytest

from bertwire.v1 import classifier_pb2 as pb
from bertwire_client import (
    Answer,
    AsyncClient,
    Client,
    DeadlineExceededError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    Request,
    RequestError,
    UnavailableError,
)
from fake import Broken, FakeServer

both = pytest.mark.parametrize("kind", ["sync", "async"])
Responses = list[pb.ClassifyStreamResponse]


@asynccontextmanager
async def streaming(
    kind: str,
    address: str,
    items: Any,  # noqa: ANN401 - wrong types too
    **options: Any,  # noqa: ANN401 - wrong types too
) -> AsyncIterator[tuple[Client | AsyncClient, AsyncIterator[Answer]]]:
    """Yield a client of that kind and the answers to its stream of items."""
    if kind == "sync":
        with Client(address) as client, closing(client.stream(items, **options)) as answers:
            yield client, in_thread(answers)
    else:
        async with AsyncClient(address) as other, aclosing(other.stream(items, **options)) as more:
            yield other, more


async def in_thread(answers: Iterator[Answer]) -> AsyncIterator[Answer]:
    """Yield answers that a thread waits for."""
    while (answer := await asyncio.to_thread(next, answers, None)) is not None:
        yield answer


async def collect(kind: str, address: str, items: Any, **options: Any) -> list[Answer]:  # noqa: ANN401 - wrong types too
    """Return all answers to a stream of items, by the client of that kind."""
    async with streaming(kind, address, items, **options) as (_, answers):
        return [answer async for answer in answers]


def failure(request: pb.ClassifyStreamRequest, code: grpc.StatusCode, retry_after_ms: int | None = None) -> Responses:
    """Return a failure as the one response to a request."""
    reason = pb.Failure(code=code.value[0], message="because", retry_after_ms=retry_after_ms)
    return [pb.ClassifyStreamResponse(id=request.id, failure=reason)]


def indexes(answers: list[Answer]) -> list[int]:
    """Return the answers' indexes, in the order in which they came."""
    return [answer.index for answer in answers]


@both
async def test_every_item_is_answered(kind: str, fake: FakeServer) -> None:
    """Apply the stream's options to texts, a request's own to a request; name each answer's item."""
    items = ["a", Request(["b", "x" * 30], top_k=1), "c"]
    answers = await collect(kind, fake.address, items, model="named", logits=True, metadata=[("x-request-id", "r-1")])
    assert indexes(answers) == [0, 1, 2]
    assert [[each.label for each in answer.reply.results] for answer in answers] == [
        ["short"],
        ["short", "long"],
        ["short"],
    ]
    assert [answer.reply.model for answer in answers] == ["named", "fake", "named"]
    assert (answers[0].reply.results[0].logits, answers[1].reply.results[0].logits) == ((1.5, -0.5), ())
    assert len({request.id for request in fake.streamed}) == 3
    assert all(0 < request.timeout_ms <= 10_000 for request in fake.streamed)
    assert (fake.streams, fake.requests) == (1, [])
    assert fake.metadata[0]["x-request-id"] == "r-1"


@both
async def test_no_items_need_no_server(kind: str, nowhere: str) -> None:
    """End a stream of nothing."""
    assert await collect(kind, nowhere, []) == []


@both
async def test_answers_come_as_they_are_ready_or_in_order(kind: str, fake: FakeServer) -> None:
    """Yield each answer once, in the server's order, or in that of the items where `ordered`."""
    held: Responses = []

    def in_reverse_twice(request: pb.ClassifyStreamRequest) -> Responses:
        held.extend(fake.answered(request))
        if len(held) < 4:
            return []
        responses = held[::-1] * 2
        held.clear()
        return responses

    fake.answer = in_reverse_twice
    assert indexes(await collect(kind, fake.address, iter("abcdefgh"))) == [3, 2, 1, 0, 7, 6, 5, 4]
    assert indexes(await collect(kind, fake.address, iter("abcdefgh"), ordered=True)) == list(range(8))


@both
async def test_failures_are_values(kind: str, fake: FakeServer) -> None:
    """Fail a request without the others; raise its error where its reply is taken."""
    fake.answer = lambda request: (
        failure(request, grpc.StatusCode.NOT_FOUND) if request.id == "1" else fake.answered(request)
    )
    answers = await collect(kind, fake.address, ["a", "b", "\ud800", "d"], ordered=True)
    assert [type(answer.outcome).__name__ for answer in answers] == [
        "Reply",
        "NotFoundError",
        "InvalidArgumentError",
        "Reply",
    ]
    with pytest.raises(NotFoundError, match="NOT_FOUND: because"):
        _ = answers[1].reply
    with pytest.raises(InvalidArgumentError, match="UTF-8"):
        _ = answers[2].reply
    assert len(fake.streamed) == 3


@both
@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (pb.ClassifyStreamResponse(), "neither a response nor a failure"),
        (pb.ClassifyStreamResponse(response=pb.ClassifyResponse()), "0 results for 1 texts"),
        (pb.ClassifyStreamResponse(failure=pb.Failure(code=99)), "UNKNOWN"),
    ],
)
async def test_senseless_responses_are_failures(
    kind: str, response: pb.ClassifyStreamResponse, reason: str, fake: FakeServer
) -> None:
    """Fail the request of a response that breaks the API; ignore one to no request."""

    def answer(request: pb.ClassifyStreamRequest) -> Responses:
        mine = pb.ClassifyStreamResponse()
        mine.CopyFrom(response)
        mine.id = request.id
        return [pb.ClassifyStreamResponse(id="never sent"), pb.ClassifyStreamResponse(id="77"), mine]

    fake.answer = answer
    (only,) = await collect(kind, fake.address, ["a"])
    assert reason in str(only.outcome)


@both
@pytest.mark.parametrize(
    ("code", "retry_after_ms"), [(grpc.StatusCode.UNAVAILABLE, None), (grpc.StatusCode.RESOURCE_EXHAUSTED, 20)]
)
async def test_requests_refused_for_now_are_sent_again(
    kind: str, code: grpc.StatusCode, retry_after_ms: int | None, fake: FakeServer
) -> None:
    """Send a refused request again on the same stream, with the time that it has left."""
    refused: list[pb.ClassifyStreamRequest] = []

    def answer(request: pb.ClassifyStreamRequest) -> Responses:
        if request.request.texts[0] != "b" or len(refused) == 3:
            return fake.answered(request)
        refused.append(request)
        return failure(request, code, retry_after_ms)

    fake.answer = answer
    answers = await collect(kind, fake.address, ["a", "b", "c"], timeout=30)
    assert sorted(indexes(answers)) == [0, 1, 2]
    assert all(answer.reply for answer in answers)
    assert (len(refused), fake.streams) == (3, 1)
    assert refused[2].timeout_ms < refused[0].timeout_ms


@both
@pytest.mark.parametrize(
    "code",
    [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.INTERNAL, grpc.StatusCode.OK],
)
async def test_broken_streams_are_taken_up(kind: str, code: grpc.StatusCode, fake: FakeServer) -> None:
    """Open a new stream after one that ended, and send only what is unanswered again."""
    seen = 0

    def answer(request: pb.ClassifyStreamRequest) -> Responses:
        nonlocal seen
        seen += 1
        if seen % 10 == 0:
            raise Broken(code, "going down")
        return fake.answered(request)

    fake.answer = answer
    answers = await collect(kind, fake.address, map(str, range(100)), max_in_flight=7)
    assert sorted(indexes(answers)) == list(range(100))
    assert all(answer.reply for answer in answers)
    assert fake.streams > 10
    # Of a stream that breaks no more than what was in flight can have been sent in vain.
    assert len(fake.streamed) <= 100 + 7 * fake.streams


@both
async def test_silence_ends_with_the_timeout(kind: str, fake: FakeServer) -> None:
    """Fail a request without an answer at its timeout, while the others go on."""
    fake.answer = lambda request: [] if request.id == "1" else fake.answered(request)
    answers = await collect(kind, fake.address, list("abc"), timeout=2)
    assert indexes(answers) == [0, 2, 1]
    assert isinstance(answers[-1].outcome, DeadlineExceededError)
    assert "no answer within 2 s" in str(answers[-1].outcome)


@both
async def test_message_above_the_servers_limit_fails_alone(kind: str, fake: FakeServer) -> None:
    """Fail the message for which gRPC ends the whole stream, and no other."""
    items = ["a", "x" * (3 << 19), "y" * (2 << 20), "b"]
    answers = await collect(kind, fake.address, items, ordered=True)
    assert [type(answer.outcome).__name__ for answer in answers] == [
        "Reply",
        "ResourceExhaustedError",
        "ResourceExhaustedError",
        "Reply",
    ]


@both
@pytest.mark.parametrize(
    ("code", "retry_after_ms", "seconds"),
    [
        (grpc.StatusCode.RESOURCE_EXHAUSTED, None, 30),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, 60_000, 30),
        (grpc.StatusCode.UNAVAILABLE, None, 2),
    ],
)
async def test_refusals_that_waiting_does_not_help(
    kind: str, code: grpc.StatusCode, retry_after_ms: int | None, seconds: int, fake: FakeServer
) -> None:
    """Answer with a refusal that names no time, one past the timeout, or one that lasted until the timeout."""
    fake.answer = lambda request: failure(request, code, retry_after_ms)
    (answer,) = await collect(kind, fake.address, ["a"], timeout=seconds)
    assert isinstance(answer.outcome, RequestError)
    assert (answer.outcome.code, answer.outcome.retry_after) == (code, retry_after_ms and 60.0)
    assert (len(fake.streamed) == 1) == (seconds == 30)


@both
async def test_refused_caller_ends_the_stream(kind: str, fake: FakeServer) -> None:
    """Raise what would fail every request."""

    def answer(_: pb.ClassifyStreamRequest) -> Responses:
        raise Broken(grpc.StatusCode.PERMISSION_DENIED, "not you")

    fake.answer = answer
    with pytest.raises(PermissionDeniedError, match="not you"):
        await collect(kind, fake.address, list("abc"))


@both
async def test_nobody_there_ends_the_stream(kind: str, nowhere: str) -> None:
    """Fail requests at their timeout, and the stream once no server has answered for as long."""
    answers: list[Answer] = []

    async def drain(found: AsyncIterator[Answer]) -> None:
        async for answer in found:
            answers.append(answer)  # noqa: PERF401 - the stream raises in the middle

    async with streaming(kind, nowhere, repeat("a"), max_in_flight=2, timeout=2) as (_, found):
        with pytest.raises(UnavailableError):
            await drain(found)
    assert {type(answer.outcome) for answer in answers} == {UnavailableError}


@both
@pytest.mark.parametrize("error", [OSError, TimeoutError, Empty, asyncio.CancelledError])
async def test_source_that_fails_ends_the_stream(kind: str, error: type[BaseException], fake: FakeServer) -> None:
    """Raise what the source raises, also where the stream's own waiting could have raised it."""

    def items() -> Iterator[str]:
        yield "a"
        raise error

    with pytest.raises(error):
        await asyncio.create_task(collect(kind, fake.address, items()))


@both
@pytest.mark.parametrize(
    ("items", "options", "kind_of_error", "reason"),
    [
        ("a text", {}, TypeError, "items is a single string"),
        (["a", 5], {}, TypeError, "item 1 of the stream is neither a text nor a Request but int"),
        (["a"], {"timeout": 0}, ValueError, "timeout is 0"),
        (["a"], {"max_in_flight": 0}, ValueError, "max_in_flight is 0"),
        (["a"], {"priority": "x"}, ValueError, "priority is 'x'"),
        (["a"], {"x": 1}, TypeError, "'x'"),
    ],
)
async def test_wrong_items_and_options(
    kind: str,
    items: Any,  # noqa: ANN401 - wrong types too
    options: dict[str, Any],
    kind_of_error: type[Exception],
    reason: str,
    fake: FakeServer,
) -> None:
    """Raise for options that cannot mean anything before any item is taken, and for an item of another type."""
    with pytest.raises(kind_of_error, match=reason):
        await collect(kind, fake.address, items, **options)
    assert fake.streams == 0 or items == ["a", 5]


@both
@pytest.mark.parametrize("idle", [False, True])
async def test_client_closed_under_its_stream(kind: str, idle: bool, fake: FakeServer) -> None:
    """Raise the error of a call instead of opening another stream, also while the source has no item."""

    def waits() -> Iterator[str]:
        yield "a"
        threading.Event().wait(60)

    async def waits_too() -> AsyncIterator[str]:
        yield "a"
        await asyncio.Event().wait()

    items = (waits() if kind == "sync" else waits_too()) if idle else repeat("a")
    async with streaming(kind, fake.address, items, max_in_flight=2) as (client, answers):
        await anext(answers)
        if (closing_ := client.close()) is not None:
            await closing_
        with pytest.raises(RequestError, match="CANCELLED: the client was closed"):
            [None async for _ in answers]


@both
async def test_producer_waits_for_the_consumer(kind: str, fake: FakeServer) -> None:
    """Take no more than `max_in_flight` items ahead of a slow consumer, of asynchronous sources too."""
    taken = given = 0

    def items() -> Iterator[str]:
        nonlocal taken
        for number in range(50):
            taken += 1
            yield str(number)

    async def asynchronous() -> AsyncIterator[str]:
        for item in items():
            yield item

    source = items() if kind == "sync" else asynchronous()
    async with streaming(kind, fake.address, source, max_in_flight=4, ordered=kind == "async") as (_, answers):
        async for _ in answers:
            given += 1
            assert taken <= given + 4
    assert (taken, given) == (50, 50)


@both
async def test_loop_left_early_ends_the_stream(kind: str, fake: FakeServer) -> None:
    """Leave no thread, which would hold the source, and no task of a stream whose source has more items."""
    tasks, ahead, let_go = asyncio.all_tasks(), threading.Event(), threading.Event()

    def items() -> Iterator[str]:
        try:
            yield from ("a", "a")
            ahead.set()  # the last item that may be taken after one answer
            yield from repeat("a")
        finally:
            let_go.set()

    async with streaming(kind, fake.address, items(), max_in_flight=2) as (_, answers):
        await anext(answers)
        assert await asyncio.to_thread(ahead.wait, 60)
    assert kind == "async" or await asyncio.to_thread(let_go.wait, 60)
    await asyncio.wait_for(asyncio.gather(*(asyncio.all_tasks() - tasks), return_exceptions=True), 60)
