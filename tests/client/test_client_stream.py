"""Streams of both clients against a server that refuses, breaks and falls silent."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, closing
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
    ResourceExhaustedError,
    UnavailableError,
)
from fake import Broken, FakeServer

both = pytest.mark.parametrize("kind", ["sync", "async"])
Responses = list[pb.ClassifyStreamResponse]


async def collect(kind: str, address: str, items: Any, **options: Any) -> list[Answer]:  # noqa: ANN401 - wrong types too
    """All answers to a stream of items, by the client of that kind."""
    if kind == "sync":
        with Client(address) as client:
            return await asyncio.to_thread(lambda: list(client.stream(items, **options)))
    async with AsyncClient(address) as client:
        return [answer async for answer in client.stream(items, **options)]


def failure(request: pb.ClassifyStreamRequest, code: grpc.StatusCode, retry_after_ms: int | None = None) -> Responses:
    """A failure as the one response to a request."""
    reason = pb.Failure(code=code.value[0], message="because", retry_after_ms=retry_after_ms)
    return [pb.ClassifyStreamResponse(id=request.id, failure=reason)]


def indexes(answers: list[Answer]) -> list[int]:
    """The answers' indexes, in the order in which they came."""
    return [answer.index for answer in answers]


@both
async def test_every_item_is_answered(kind: str, fake: FakeServer) -> None:
    """Texts take the stream's options, requests their own; an answer names its item."""
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
    """A stream of nothing ends."""
    assert await collect(kind, nowhere, []) == []


async def test_items_may_be_asynchronous(fake: FakeServer) -> None:
    """An asynchronous source is taken item by item."""

    async def items() -> AsyncIterator[str]:
        for text in "ab":
            await asyncio.sleep(0)
            yield text

    assert indexes(await collect("async", fake.address, items())) == [0, 1]


def backwards(fake: FakeServer, count: int) -> None:
    """Lets the server answer each `count` requests in reverse."""
    held: Responses = []

    def answer(request: pb.ClassifyStreamRequest) -> Responses:
        held.extend(fake.answered(request))
        if len(held) < count:
            return []
        responses = held[::-1]
        held.clear()
        return responses

    fake.answer = answer


@both
async def test_answers_come_as_they_are_ready_or_in_order(kind: str, fake: FakeServer) -> None:
    """Whatever the order in which the server answers, `ordered` gives that of the items."""
    backwards(fake, 4)
    assert indexes(await collect(kind, fake.address, iter("abcdefgh"))) == [3, 2, 1, 0, 7, 6, 5, 4]
    assert indexes(await collect(kind, fake.address, iter("abcdefgh"), ordered=True)) == list(range(8))


@both
async def test_failures_are_values(kind: str, fake: FakeServer) -> None:
    """A request that fails leaves the others alone; taking its reply raises its error."""
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
    """A response that breaks the API fails its request; one to no request is passed over."""

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
    """What the server has no room for is sent again on the same stream, with the time that it has left."""
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
@pytest.mark.parametrize("retry_after_ms", [None, 60_000])
async def test_refusals_that_waiting_does_not_help(kind: str, retry_after_ms: int | None, fake: FakeServer) -> None:
    """A refusal without a time, or with one beyond the request's own, is its answer at once."""
    fake.answer = lambda request: failure(request, grpc.StatusCode.RESOURCE_EXHAUSTED, retry_after_ms)
    (answer,) = await collect(kind, fake.address, ["a"], timeout=30)
    assert isinstance(answer.outcome, ResourceExhaustedError)
    assert answer.outcome.retry_after == (None if retry_after_ms is None else 60.0)
    assert len(fake.streamed) == 1


@both
async def test_refusals_until_the_end(kind: str, fake: FakeServer) -> None:
    """A request that was refused until its time was up has the refusal for its answer."""
    fake.answer = lambda request: failure(request, grpc.StatusCode.UNAVAILABLE)
    (answer,) = await collect(kind, fake.address, ["a"], timeout=0.3)
    assert isinstance(answer.outcome, UnavailableError)
    assert len(fake.streamed) > 1


@both
@pytest.mark.parametrize(
    "code",
    [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.INTERNAL, grpc.StatusCode.OK],
)
async def test_broken_streams_are_taken_up(kind: str, code: grpc.StatusCode, fake: FakeServer) -> None:
    """Each tenth request ends its stream, with a failure or without: only what is unanswered is sent again."""
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
async def test_answer_twice_is_given_once(kind: str, fake: FakeServer) -> None:
    """A server that repeats itself is heard once."""
    fake.answer = lambda request: fake.answered(request) * 2
    assert sorted(indexes(await collect(kind, fake.address, list("abc")))) == [0, 1, 2]


@both
async def test_silence_ends_with_the_timeout(kind: str, fake: FakeServer) -> None:
    """A request that the server never answers fails by its timeout, and the others do not wait for it."""
    fake.answer = lambda request: [] if request.id == "1" else fake.answered(request)
    answers = await collect(kind, fake.address, list("abc"), timeout=0.5)
    assert indexes(answers) == [0, 2, 1]
    assert isinstance(answers[-1].outcome, DeadlineExceededError)
    assert "no answer within 0.5 s" in str(answers[-1].outcome)


@both
async def test_message_above_the_servers_limit_fails_alone(kind: str, fake: FakeServer) -> None:
    """The message for which gRPC ends the whole stream is the one that fails."""
    items = ["a", "x" * (3 << 19), "y" * (2 << 20), "b"]
    answers = await collect(kind, fake.address, items, ordered=True)
    assert [type(answer.outcome).__name__ for answer in answers] == [
        "Reply",
        "ResourceExhaustedError",
        "ResourceExhaustedError",
        "Reply",
    ]


@both
async def test_refused_caller_ends_the_stream(kind: str, fake: FakeServer) -> None:
    """What would fail every request is raised."""

    def answer(_: pb.ClassifyStreamRequest) -> Responses:
        raise Broken(grpc.StatusCode.PERMISSION_DENIED, "not you")

    fake.answer = answer
    with pytest.raises(PermissionDeniedError, match="not you"):
        await collect(kind, fake.address, list("abc"))


@both
async def test_nobody_there_ends_the_stream(kind: str, nowhere: str) -> None:
    """Requests fail by their timeout and say why; when nobody answers for so long, the stream ends, however long."""
    answers: list[Answer] = []

    async def drain() -> None:
        if kind == "sync":
            with Client(nowhere) as client:
                await asyncio.to_thread(
                    lambda: answers.extend(client.stream(repeat("a"), max_in_flight=2, timeout=0.3))
                )
        async with AsyncClient(nowhere) as other:
            async for answer in other.stream(repeat("a"), max_in_flight=2, timeout=0.3):
                answers.append(answer)  # noqa: PERF401 - the stream raises in the middle

    with pytest.raises(UnavailableError):
        await drain()
    assert answers
    assert all(isinstance(answer.outcome, UnavailableError) for answer in answers)


@both
async def test_source_that_fails_ends_the_stream(kind: str, fake: FakeServer) -> None:
    """What taking an item raises reaches the caller, and so does an item that is none."""

    def items() -> Iterator[str]:
        yield "a"
        raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        await collect(kind, fake.address, items())
    with pytest.raises(TypeError, match="item 1 of the stream is neither a text nor a Request but int"):
        await collect(kind, fake.address, ["a", 5])
    with pytest.raises(TypeError, match="items is a single string"):
        await collect(kind, fake.address, "a text")


@both
@pytest.mark.parametrize("error", [TimeoutError, Empty, asyncio.CancelledError])
async def test_source_that_fails_as_waiting_does(kind: str, error: type[BaseException], fake: FakeServer) -> None:
    """What a source raises is not taken for what the stream's own waiting raises."""

    def items() -> Iterator[str]:
        yield "a"
        raise error

    with pytest.raises(error):
        await asyncio.wait_for(asyncio.create_task(collect(kind, fake.address, items())), 20)


async def test_client_closed_under_its_stream(fake: FakeServer) -> None:
    """The stream ends with the error of a call, also where its source has nothing now."""

    def waits() -> Iterator[str]:
        yield "a"
        threading.Event().wait(60)

    async def waits_too() -> AsyncIterator[str]:
        yield "a"
        await asyncio.Event().wait()

    with Client(fake.address) as client:
        answers = client.stream(waits())
        next(answers)
        client.close()
        with pytest.raises(RequestError, match="CANCELLED: the client was closed"):
            await asyncio.wait_for(asyncio.to_thread(lambda: deque(answers)), 20)
    async with AsyncClient(fake.address) as other:
        more = other.stream(waits_too())
        await anext(more)
        await other.close()
        with pytest.raises(RequestError, match="CANCELLED: the client was closed"):
            await asyncio.wait_for(anext(more), 20)


async def test_client_closed_under_its_busy_stream(fake: FakeServer) -> None:
    """It does not try to open another one."""
    with Client(fake.address) as client:
        answers = client.stream(repeat("a"), max_in_flight=2)
        next(answers)
        client.close()
        with pytest.raises(RequestError, match="CANCELLED: the client was closed"):
            deque(answers)
    async with AsyncClient(fake.address) as other:
        more = other.stream(repeat("a"), max_in_flight=2)
        await anext(more)
        await other.close()
        with pytest.raises(RequestError, match="CANCELLED: the client was closed"):
            [None async for _ in more]


@both
@pytest.mark.parametrize(
    ("options", "kind_of_error"),
    [
        ({"timeout": 0}, ValueError),
        ({"max_in_flight": 0}, ValueError),
        ({"priority": "x"}, ValueError),
        ({"x": 1}, TypeError),
    ],
)
async def test_wrong_options(
    kind: str, options: dict[str, Any], kind_of_error: type[Exception], fake: FakeServer
) -> None:
    """Options that cannot mean anything are told before any item is taken."""
    with pytest.raises(kind_of_error):
        await collect(kind, fake.address, list("a"), **options)
    assert fake.streams == 0


def test_producer_waits_for_the_consumer(fake: FakeServer) -> None:
    """However slow the one who takes the answers, no more than `max_in_flight` items are taken ahead."""
    taken = 0

    def items() -> Iterator[str]:
        nonlocal taken
        for number in range(50):
            taken += 1
            yield str(number)

    with Client(fake.address) as client, closing(client.stream(items(), max_in_flight=4)) as answers:
        for given, _ in enumerate(answers, 1):
            assert taken <= given + 4
    assert taken == 50


async def test_producer_waits_for_the_consumer_in_tasks(fake: FakeServer) -> None:
    """The same with asyncio, where the answers of a slow start are held back too."""
    taken = 0

    async def items() -> AsyncIterator[str]:
        nonlocal taken
        for number in range(50):
            taken += 1
            yield str(number)

    async with AsyncClient(fake.address) as client:
        given = 0
        async for _ in client.stream(items(), max_in_flight=4, ordered=True):
            given += 1
            assert taken <= given + 4
    assert (taken, given) == (50, 50)


def test_loop_left_early_ends_the_stream(fake: FakeServer) -> None:
    """No thread of a stream outlives it, though its source has more."""
    before = set(threading.enumerate())
    with Client(fake.address) as client, closing(client.stream(repeat("a"), max_in_flight=2)) as answers:
        next(answers)
    for thread in set(threading.enumerate()) - before:
        if "stream" in repr(getattr(thread, "_target", None)):
            thread.join(10)
            assert not thread.is_alive()


async def test_loop_left_early_ends_the_stream_of_tasks(fake: FakeServer) -> None:
    """No task of a stream outlives it."""
    async with AsyncClient(fake.address) as client:
        async with aclosing(client.stream(repeat("a"), max_in_flight=2)) as answers:
            await anext(answers)
            ours = {task for task in asyncio.all_tasks() if "bertwire_client/stream" in repr(task)}
        assert ours
        assert not {task for task in ours & asyncio.all_tasks() if not task.cancelling()}
