"""The books of a stream, on a clock that the test sets."""

import grpc
import pytest

from bertwire.v1.classifier_pb2 import ClassifyResponse, ClassifyStreamResponse, Failure, Result
from bertwire_client.errors import RequestError, UnavailableError
from bertwire_client.stream.kinds import ClassifyKind
from bertwire_client.stream.ledger import Ledger

GONE = UnavailableError(grpc.StatusCode.UNAVAILABLE, "gone")


def ledger() -> Ledger:
    """Return an empty ledger, whose requests have ten seconds."""
    return Ledger(ClassifyKind({}), 10, ordered=False)


def sent(books: Ledger, now: float) -> list[tuple[str, int]]:
    """Return id and timeout of what is sent at a time."""
    return [(message.id, message.timeout_ms) for message in books.sendable(now)]


def answered(index: int) -> ClassifyStreamResponse:
    """Return a response to a request of one text."""
    return ClassifyStreamResponse(id=str(index), response=ClassifyResponse(results=[Result()]))


def test_refused_request_waits_for_its_time() -> None:
    """Send a refused request not before the server's time, also after a break in between."""
    books = ledger()
    books.connected = True
    books.add("a", 0)
    assert sent(books, 0) == [("0", 10_000)]
    full = Failure(code=grpc.StatusCode.RESOURCE_EXHAUSTED.value[0], retry_after_ms=2000)
    books.settle(ClassifyStreamResponse(id="0", failure=full), 1)
    books.lose(GONE, 1.5)
    books.connected = True
    assert sent(books, 2.99) == []
    assert [name for name, _ in sent(books, 3.06)] == ["0"]


def test_outage_is_measured_from_its_first_break() -> None:
    """Fail a stream that breaks for as long as a timeout; begin anew after an answer."""
    books = ledger()
    for now in (0.0, 9.0):
        books.add("a", now)
        books.lose(GONE, now)
    books.settle(answered(1), 9.5)
    books.add("a", 9.5)
    books.lose(GONE, 11)
    books.lose(GONE, 21)
    answers = books.answers()
    assert [type(next(answers).outcome) for _ in range(3)][1:] == [UnavailableError, UnavailableError]
    with pytest.raises(RequestError, match="gone"):
        next(answers)


def test_long_idle_stream_begins_anew() -> None:
    """Count no outage while no request is pending, nor one of long ago."""
    books = ledger()
    books.add("a", 0)
    books.lose(GONE, 1)
    books.expire(10)
    assert [type(answer.outcome) for answer in books.answers()] == [UnavailableError]
    assert books.seconds_to_wait(10) is None
    books.add("b", 1000)
    books.lose(GONE, 1001)
    assert books.seconds_to_wait(1001) is not None
