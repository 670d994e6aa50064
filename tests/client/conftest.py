"""A small real gRPC server whose failures a test decides."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from bertwire.v1.classifier_pb2 import ClassifyRequest, ClassifyResponse, LabelScore, Result, Timing
from bertwire.v1.classifier_pb2_grpc import ClassifierServicer, add_ClassifierServicer_to_server

Failure = tuple[grpc.StatusCode, str]


class FakeServer(ClassifierServicer):
    """Labels a text `long` above 20 characters, else `short`, and finds texts with `bad` in them invalid.

    Attributes:
        fail: called with each request; a code and a message that it gives fail the call. May wait.
        requests: all requests so far.
        address: where the server listens.
        version: the model version of its replies.
    """

    def __init__(self, address: str = "localhost:0") -> None:
        self.fail: Callable[[ClassifyRequest], Failure | None] = lambda _: None
        self.requests: list[ClassifyRequest] = []
        self.version = "7"
        self._lock = threading.Lock()
        options = [("grpc.max_receive_message_length", 1 << 20), ("grpc.so_reuseport", 0)]
        self._server = grpc.server(ThreadPoolExecutor(16), options=options)
        add_ClassifierServicer_to_server(self, self._server)
        self.address = f"localhost:{self._server.add_insecure_port(address)}"
        self._server.start()

    def Classify(self, request: ClassifyRequest, context: grpc.ServicerContext) -> ClassifyResponse:  # noqa: N802
        """Answers or fails."""
        with self._lock:
            self.requests.append(request)
        if failure := self.fail(request):
            context.abort(*failure)
        for index, text in enumerate(request.texts):
            if "bad" in text:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"text {index} is bad")
        results = [_result(text, request) for text in request.texts]
        return ClassifyResponse(model=request.model or "fake", model_version=self.version, results=results)

    def stop(self) -> None:
        """Stops the server at once."""
        self._server.stop(None).wait()


def _result(text: str, request: ClassifyRequest) -> Result:
    labels = [LabelScore(label="long", score=0.75), LabelScore(label="short", score=0.25)]
    if len(text) <= 20:
        labels = [LabelScore(label="short", score=0.9), LabelScore(label="long", score=0.1)]
    shown = labels[: request.top_k] if request.HasField("top_k") else labels
    logits = [1.5, -0.5] if request.logits else []
    timing = Timing(queue_us=1, tokenize_us=2, run_us=3)
    return Result(labels=shown, logits=logits, token_count=len(text), truncated=len(text) > 40, timing=timing)


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    """A running fake server."""
    server = FakeServer()
    yield server
    server.stop()


@pytest.fixture
def nowhere() -> str:
    """An address where nothing listens."""
    server = FakeServer()
    server.stop()
    return server.address
