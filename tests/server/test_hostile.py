"""A real server process against clients that are broken, rude or gone: it answers the others, and keeps nothing."""

import asyncio
import gc
import gzip
import random
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import psutil
import pytest

import http2
from bertwire.tei import tei_pb2
from bertwire.v1.classifier_pb2 import ClassifyRequest
from bertwire.v1.classifier_pb2_grpc import ClassifierStub
from services import METHODS, Method
from support import Serve, Server

CLASSIFY, STREAM = "/bertwire.v1.Classifier/Classify", "/tei.v1.Predict/PredictStream"
ONE_TEXT = ClassifyRequest(texts=["w1 w2"]).SerializeToString()
ONE_INPUT = tei_pb2.PredictRequest(inputs="w1 w2").SerializeToString()
GARBAGE = (b"\xff", b"\x0a\x05w1", b"\xff" * 40, b"\x00" * 40, b"\x0b" * 1000)
# Resident memory may grow by this much, in bytes, over one kind of abuse: buffers of connections, heap that is kept.
_MAX_GROWTH = 24 << 20
_MEBIBYTE = 1 << 20


@pytest.fixture(scope="module")
def server(serve: Serve, bundle: Path) -> Iterator[Server]:
    """Start a server for all tests of this file, which stops at once in the end, since no call is left."""
    with serve(bundle, "--variant", "fp32", "--drain-seconds", 300) as running:
        with grpc.insecure_channel(running.address) as channel:
            calls = [ClassifierStub(channel).Classify.future(ClassifyRequest(texts=["w1"]), timeout=60)] * 500
            assert {call.code() for call in calls} == {grpc.StatusCode.OK}
        yield running
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(60) == 0


@pytest.fixture(autouse=True)
def unharmed(server: Server) -> Iterator[None]:
    """Check after each test that the server answers, has no connection left and has not grown beyond the bound."""
    process = psutil.Process(server.process.pid)
    before = process.memory_info().rss
    yield
    gc.collect()  # a grpc.aio call that is not, keeps its connection
    with grpc.insecure_channel(server.address) as channel:
        response = ClassifierStub(channel).Classify(ClassifyRequest(texts=["w1"]), timeout=20)
        assert len(response.results[0].labels) == 3
        while connections(process) > 1:  # the one that asks; a test's time limit ends the wait
            pass
    assert process.memory_info().rss - before < _MAX_GROWTH


def connections(process: psutil.Process) -> int:
    """Return the number of the server's connections."""
    return sum(each.status == psutil.CONN_ESTABLISHED for each in process.net_connections("tcp"))


@pytest.mark.parametrize("method", METHODS, ids=str)
async def test_malformed_messages(server: Server, method: Method) -> None:
    """Answer INVALID_ARGUMENT to bytes that are no message, in every method of every service."""
    async with grpc.aio.insecure_channel(server.address) as channel:
        for content in GARBAGE:
            opened: Any = channel  # whose methods' types follow from serializers, of which there are none here
            if method.takes_stream:
                call = opened.stream_stream(method.name)(iter([content]), timeout=20)
            elif method.gives_stream:
                call = opened.unary_stream(method.name)(content, timeout=20)
            else:
                call = opened.unary_unary(method.name)(content, timeout=20)
            code, details = await call.code(), await call.details()
            assert code in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNIMPLEMENTED)
            assert "cannot be decoded" in details or code is grpc.StatusCode.UNIMPLEMENTED


def answer_to(address: str, content: bytes) -> bytes:
    """Return what a server answers to bytes, until either side closes the connection."""
    received = b""
    with http2.connect(address) as connection, suppress(ConnectionError):
        connection.sendall(content)
        connection.shutdown(socket.SHUT_WR)
        while more := connection.recv(65536):
            received += more
    return received


def test_random_bytes_on_the_port(server: Server) -> None:
    """End the connection that sends noise, from its start, after HTTP/2's preface or within a call."""
    generator = random.Random(5)  # noqa: S311 - test data
    hello = http2.PREFACE + http2.frame(http2.SETTINGS, 0, 0)
    begins = (b"", http2.PREFACE, hello, hello + http2.headers(CLASSIFY))
    for number in range(200):
        noise = generator.randbytes(generator.randint(1, 5000))
        answer_to(server.address, begins[number % 4] + noise)
    assert server.process.poll() is None


def test_random_bytes_in_messages(server: Server) -> None:
    """Fail the call of a message with a wrong length, an unknown compression or a size above the limit."""
    hello = http2.PREFACE + http2.frame(http2.SETTINGS, 0, 0) + http2.headers(CLASSIFY)
    for content in (b"\x00\xff\xff\xff\xff", b"\x01\x00\x00\x00\x05abcde", b"\x07" * 20, b"\x00", b""):
        assert answer_to(server.address, hello + http2.frame(http2.DATA, http2.END_STREAM, 1, content))


async def test_odd_metadata_and_large_messages(server: Server) -> None:
    """Accept a request id of any bytes; refuse a message above the limit by its size."""
    async with grpc.aio.insecure_channel(server.address) as channel:
        stub = ClassifierStub(channel)
        odd = [("x-request-id", "~" * 4000), ("x-request-id", " "), ("x-y-bin", b"\x00\xff" * 500)]
        assert len((await stub.Classify(ClassifyRequest(texts=["w1"]), metadata=odd, timeout=20)).results) == 1
        call = stub.Classify(ClassifyRequest(texts=["w" * (17 * _MEBIBYTE)]), timeout=20)
        assert await call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def unary_parts() -> list[bytes]:
    """Return the pieces of a call of one message, between which a connection may end."""
    whole = http2.message(ONE_TEXT)
    return [
        http2.headers(CLASSIFY),
        http2.frame(http2.DATA, 0, 1, whole[:3]),
        http2.frame(http2.DATA, 0, 1, whole[3:-2]),
        http2.frame(http2.DATA, http2.END_STREAM, 1, whole[-2:]),
    ]


def stream_parts() -> list[bytes]:
    """Return the same for a stream, which is not ended."""
    return [http2.headers(STREAM), *[http2.frame(http2.DATA, 0, 1, http2.message(ONE_INPUT) * 40)] * 3]


def test_message_that_is_too_large_unpacked(server: Server) -> None:
    """Refuse a small message that unpacks to a large one, with the reason."""
    content = gzip.compress(bytes(256 << 20))
    frames = [http2.headers(CLASSIFY, more={"grpc-encoding": "gzip"})]
    packed = b"\x01" + len(content).to_bytes(4, "big") + content
    parts = [packed[first : first + 16_000] for first in range(0, len(packed), 16_000)]
    frames += [http2.frame(http2.DATA, 0, 1, part) for part in parts[:-1]]
    frames.append(http2.frame(http2.DATA, http2.END_STREAM, 1, parts[-1]))
    for _ in range(5):
        with http2.connect(server.address) as connection:
            http2.say_hello(connection)
            connection.sendall(b"".join(frames))
            received = b""
            while b"grpc-message" not in received:
                more = connection.recv(65536)
                assert more, "the server has closed the connection"
                received += more
            assert b"too large" in received or b"larger than max" in received


@pytest.mark.parametrize("parts", [unary_parts(), stream_parts()], ids=["unary", "stream"])
@pytest.mark.parametrize("heard", [False, True])
def test_connection_reset(server: Server, parts: list[bytes], heard: bool) -> None:
    """Drop the call of a connection that breaks at any stage, whether the server has read that far or not."""
    for _ in range(20):
        for count in range(len(parts) + 1):
            connection = http2.connect(server.address)
            http2.say_hello(connection)
            connection.sendall(b"".join(parts[:count]))
            if heard:
                http2.heard(connection)
            http2.reset(connection)


def test_stream_reset_by_the_client(server: Server) -> None:
    """Keep a connection usable over a thousand calls reset in their middle."""
    with http2.connect(server.address) as connection:
        http2.say_hello(connection)
        for number in range(1, 2001, 2):
            begin = http2.headers(STREAM, number) + http2.frame(http2.DATA, 0, number, http2.message(ONE_INPUT))
            connection.sendall(begin + http2.frame(http2.RST_STREAM, 0, number, b"\x00\x00\x00\x08"))
            if number % 50 == 1:
                http2.heard(connection)
        http2.heard(connection)


def test_connections_that_say_nothing(server: Server) -> None:
    """Serve others beside hundreds of connections that stop before their first call."""
    with ExitStack() as stack:
        for number in range(300):
            connection = stack.enter_context(http2.connect(server.address))
            connection.sendall(http2.PREFACE[: number % 25])
        with grpc.insecure_channel(server.address) as channel:
            assert ClassifierStub(channel).Classify(ClassifyRequest(texts=["w1"]), timeout=20).results


async def test_cancels_unary_calls(server: Server) -> None:
    """Keep nothing of calls cancelled at once, on their way, in the queue or in a run."""
    async with grpc.aio.insecure_channel(server.address) as channel:
        stub = ClassifierStub(channel)
        codes = set()
        for turns in range(60):
            calls = [stub.Classify(ClassifyRequest(texts=["w1 w2"] * 50), timeout=20) for _ in range(10)]
            for _ in range(turns):
                await asyncio.sleep(0)
            if turns >= 30:  # the first has been answered, the others are somewhere
                await calls[0]
            for call in calls:
                call.cancel()
            codes |= {await call.code() for call in calls}
    assert codes <= {grpc.StatusCode.OK, grpc.StatusCode.CANCELLED, grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert grpc.StatusCode.CANCELLED in codes


async def test_cancels_streams(server: Server) -> None:
    """Keep nothing of streams cancelled before, between and after their messages."""
    async with grpc.aio.insecure_channel(server.address) as channel:
        for stage in range(4):
            calls: list[Any] = [channel.stream_stream(STREAM)(timeout=20) for _ in range(30)]
            for call in calls:
                if stage:
                    await call.write(ONE_INPUT)
                if stage > 1:
                    await call.read()
                if stage > 2:
                    for _ in range(100):
                        await call.write(ONE_INPUT)
                    await call.done_writing()
                call.cancel()
            assert {await call.code() for call in calls} == {grpc.StatusCode.CANCELLED}


def test_deadlines_of_a_millisecond(server: Server) -> None:
    """Answer or end with DEADLINE_EXCEEDED for callers with next to no time."""
    codes = set()
    with grpc.insecure_channel(server.address) as channel:
        for _ in range(10):
            unary: Any = channel.unary_unary(CLASSIFY)
            both: Any = channel.stream_stream(STREAM)
            calls = [unary.future(ONE_TEXT, timeout=0.001) for _ in range(50)]
            streams = [both(iter([ONE_INPUT] * 20), timeout=0.001) for _ in range(20)]
            for stream in streams:
                with suppress(grpc.RpcError):
                    list(stream)
            codes |= {call.code() for call in (*calls, *streams)}
    allowed = (grpc.StatusCode.OK, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED)
    assert codes <= set(allowed)
    assert grpc.StatusCode.DEADLINE_EXCEEDED in codes


async def test_reader_that_never_reads(server: Server) -> None:
    """Stop by flow control a sender that reads no answer, long before memory is full."""
    most = 10_000
    request = tei_pb2.PredictRequest(inputs="w1 " * 1000, truncate=True).SerializeToString()
    # The client's window does not grow, so that the answers that fit it are few.
    async with grpc.aio.insecure_channel(server.address, options=[("grpc.http2.bdp_probe", 0)]) as channel:
        calls: list[Any] = [channel.stream_stream(STREAM)(timeout=100) for _ in range(2)]
        assert max(await asyncio.gather(*(sent_before_it_blocks(call, request, most) for call in calls))) < most


async def sent_before_it_blocks(call: Any, request: bytes, most: int) -> int:  # noqa: ANN401 - grpc.aio's
    """Return how many requests a stream takes until it takes none for a second, or `most`."""
    for sent in range(most):
        try:
            await asyncio.wait_for(call.write(request), 1)
        except TimeoutError:
            return sent
    return most
