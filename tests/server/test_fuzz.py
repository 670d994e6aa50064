"""Ten thousand calls with anything in every field: whatever is sent, the fault is never the server's."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from arbitrary import encoded
from bertwire.v1.classifier_pb2 import ClassifyRequest, ClassifyStreamResponse
from bertwire.v1.classifier_pb2_grpc import ClassifierStub
from services import METHODS, Method
from support import Server

# A watch of health goes on for ever, and reflection's answers are gRPC's.
FUZZED = [each for each in METHODS if not each.name.startswith(("/grpc.health", "/grpc.reflection"))]
CASES, AT_ONCE = 10_000, 20
FAULTS = (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN)


@pytest.fixture(scope="module")
def channel(server: Server) -> Iterator[grpc.Channel]:
    """A channel to one server, which lives to the end."""
    with grpc.insecure_channel(server.address) as channel:
        yield channel
        assert ClassifierStub(channel).Classify(ClassifyRequest(texts=["w1"]), timeout=60).results


@pytest.mark.parametrize("method", FUZZED, ids=str)
def test_never_the_servers_fault(channel: grpc.Channel, method: Method) -> None:
    """No message, whole or damaged, gets INTERNAL or UNKNOWN, nor a request within a stream."""
    sent = 0
    content = encoded(method.takes)
    case = st.lists(content, max_size=4) if method.takes_stream else st.lists(content, min_size=1, max_size=1)

    @settings(
        max_examples=-(-CASES // AT_ONCE // len(FUZZED)),
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(case, min_size=AT_ONCE, max_size=AT_ONCE))
    def send(cases: list[list[bytes]]) -> None:
        nonlocal sent
        sent += len(cases)
        if method.takes_stream:
            both: Any = channel.stream_stream(method.name)
            streams = [both(iter(each), timeout=60) for each in cases]
            for stream in streams:
                check_stream(method, stream)
            return
        unary: Any = channel.unary_unary(method.name)
        calls = [unary.future(each, timeout=60) for (each,) in cases]
        for call in calls:
            assert call.code() not in FAULTS, call.details()

    send()
    assert sent >= CASES // len(FUZZED)


def check_stream(method: Method, stream: Any) -> None:  # noqa: ANN401 - grpc's
    """Reads a stream to its end; its status and the failures that it carries must be no fault of the server."""
    answers = []
    with suppress(grpc.RpcError):
        answers.extend(stream)
    assert stream.code() not in FAULTS, stream.details()
    if method.name == "/bertwire.v1.Classifier/ClassifyStream":
        for each in answers:
            failure = ClassifyStreamResponse.FromString(each).failure
            assert failure.code not in [fault.value[0] for fault in FAULTS], failure.message
