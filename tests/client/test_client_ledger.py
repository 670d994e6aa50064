"""The books of a stream, on a clock that the test sets."""

import grpc
import pytest

from bertwire.v1.classifier_pb2 import ClassifyResponse, ClassifyStreamResponse, Failure, Result
from bertwire_client.errors import RequestError, UnavailableError
from bertwire_client.stream.ledger import Ledger

GONE = UnavailableError(grpc.StatusCode.UNAVAILABLE, "gone")


def ledger() -> Ledger:
    """An empty one, whose requests have ten seconds."""
    return Ledger(10, ordered=False, options={})


def sent(books: Ledger, now: float) -> list[tuple[str, int]]:
    """Id and timeout of what is sent at a time."""
    return [(message.id, message.timeout_ms) for message in books.sendable(now)]


def answered(index: int) -> ClassifyStreamResponse:
    """A response to a request of one text."""
    return ClassifyStreamResponse(id=str(index), response=ClassifyResponse(results=[Result()]))


def test_what_is_unanswered_is_sent_again_with_the_time_it_has_left() -> None:
    """After a break only that is sent which has no answer, in its order."""
    books = ledger()
    books.connected = True
    for now in (0, 1, 2):
        books.add("a", now)
    assert sent(books, 2) == [("0", 8000), ("1", 9000), ("2", 10_000)]
    books.settle(answered(1), 3)
    books.lose(GONE, 3)
    assert not books.should_connect(3)
    assert books.should_connect(3.05)
    books.connected = True
    assert sent(books, 4) == [("0", 6000), ("2", 8000)]
    assert sent(books, 4) == []


def test_refused_request_waits_for_its_time() -> None:
    """It is sent again not before the server's time; a break in between does not send it sooner."""
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
    """A stream that breaks for as long as a request may take ends; an answer in between begins anew."""
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
    """A server that went while there was nothing to ask is no outage, and neither is one of long ago."""
    books = ledger()
    books.add("a", 0)
    books.lose(GONE, 1)
    books.expire(10)
    assert [type(answer.outcome) for answer in books.answers()] == [UnavailableError]
    assert books.seconds_to_wait(10) is None
    books.add("b", 1000)
    books.lose(GONE, 1001)
    assert books.seconds_to_wait(1001) is not None
