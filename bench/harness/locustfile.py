"""Load a server with Locust, each user with a connection of its own and one call in flight.

    make tools
    PYTHONPATH=protos .tools/bin/locust -f bench/harness/locustfile.py --host 127.0.0.1:8500 --headless -u 32 -t 30s

Without `--headless` Locust has a page at port 8089. `pip install locust bertwire` does in place of the first line.
"""

import itertools
import time
from collections.abc import Iterator

import grpc
import grpc.experimental.gevent
from locust import User, task

from bertwire.v1.classifier_pb2 import ClassifyRequest
from bertwire.v1.classifier_pb2_grpc import ClassifierStub

# gRPC's calls block in C, where gevent switches to no other user.
grpc.experimental.gevent.init_gevent()

# Seconds that a caller waits; the server refuses what it cannot answer within them.
DEADLINE = 1.0
TEXTS = (
    "Not bad at all!",
    "It broke after a day, and nobody answers.",
    "Does what it says. The second one I bought, and there will be a third for my sister.",
)


class ClassifyUser(User):  # type: ignore[misc]
    """Calls `bertwire.v1.Classifier/Classify` as soon as the call before is answered."""

    def on_start(self) -> None:
        """Connect; gRPC shares the connections of equal channels unless told otherwise."""
        self.channel = grpc.insecure_channel(self.host, [("grpc.use_local_subchannel_pool", 1)])
        self.stub = ClassifierStub(self.channel)
        self.texts: Iterator[str] = itertools.cycle(TEXTS)

    def on_stop(self) -> None:
        """Close the connection."""
        self.channel.close()

    @task  # type: ignore[untyped-decorator]
    def classify(self) -> None:
        """Send one text and report the call; failures by their status code."""
        request = ClassifyRequest(texts=[next(self.texts)], top_k=1)
        start, size, failure = time.perf_counter(), 0, None
        try:
            size = self.stub.Classify(request, timeout=DEADLINE).ByteSize()
        except grpc.RpcError as error:
            failure = RuntimeError(error.code().name)
        milliseconds = (time.perf_counter() - start) * 1000
        self.environment.events.request.fire(
            request_type="grpc",
            name="Classify",
            response_time=milliseconds,
            response_length=size,
            exception=failure,
            context={},
        )
