"""What a stream owes: which requests are sent, wait, are answered; it talks to nobody and has no clock of its own."""

import heapq
import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import grpc

from bertwire.v1.classifier_pb2 import ClassifyStreamRequest, ClassifyStreamResponse
from bertwire_client.errors import (
    DeadlineExceededError,
    InvalidArgumentError,
    RequestError,
    ResourceExhaustedError,
    UnavailableError,
)
from bertwire_client.replies import Answer, Reply
from bertwire_client.requests import Options, Request
from bertwire_client.retries import backoff
from bertwire_client.wire import is_too_large, parse_failure, parse_reply, request_error

MAX_IN_FLIGHT = 64

# What a server that goes away, or something between, ends a stream with; another stream may last.
_BROKEN = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
}
_MAX_INT32 = 2**31 - 1


@dataclass(slots=True)
class _Pending:
    """A request without an answer: its message, its number of texts, when it expires, why it was refused so far."""

    message: ClassifyStreamRequest
    texts: int
    until: float
    tries: int = 0
    failure: RequestError | None = None


class Ledger:
    """The books of one stream; every time is one of `time.monotonic`.

    Args:
        timeout: seconds that a request may take from its sending on.
        ordered: whether answers are given in the order of the requests.
        options: how to classify what comes as a mere text.

    Attributes:
        connected: whether a stream stands on which `sendable` can be sent.
    """

    def __init__(self, timeout: float, *, ordered: bool, options: Options) -> None:
        if timeout <= 0:
            raise ValueError(f"timeout is {timeout}; it must be above 0")
        # What is wrong with the options is told before the first request.
        Request([], **options).message()
        self.connected = False
        self._timeout, self._ordered, self._options = timeout, ordered, options
        self._taken, self._complete = 0, False
        # By index, oldest first; since all have the same timeout, the first expires first.
        self._pending: dict[int, _Pending] = {}
        self._unsent: deque[int] = deque()
        self._later: list[tuple[float, int]] = []
        self._answers: dict[int, Answer] = {}
        self._given = 0
        self._breaks, self._connect_at = 0, 0.0
        self._broken: RequestError | None = None
        self._broken_since: float | None = None
        self._failed: RequestError | None = None

    def add(self, item: str | Request, now: float) -> None:
        """Takes the next request; raises `TypeError` where it is none."""
        index, self._taken = self._taken, self._taken + 1
        request = item if isinstance(item, Request) else _text_request(item, index, self._options)
        try:
            message = ClassifyStreamRequest(id=str(index), request=request.message())
        except ValueError as error:
            # One text among millions: an answer, as if the server had found it.
            self._answers[index] = Answer(index, InvalidArgumentError(grpc.StatusCode.INVALID_ARGUMENT, str(error)))
            return
        if not self._pending and now >= self._connect_at + self._timeout:
            # Nobody has tried for so long that the server may be back.
            self._broken_since = None
        self._pending[index] = _Pending(message, len(message.request.texts), now + self._timeout)
        self._unsent.append(index)

    def finish(self, _: object, __: float) -> None:
        """Notes that no further request comes."""
        self._complete = True

    @property
    def done(self) -> bool:
        """Whether every request has been given its answer, and none comes any more."""
        return self._complete and not self._pending and not self._answers

    def answers(self) -> Iterator[Answer]:
        """Gives, once, the answers that are there; then raises `RequestError` where no stream will do better."""
        while self._answers:
            index = self._given if self._ordered else next(iter(self._answers))
            if (answer := self._answers.pop(index, None)) is None:
                break
            self._given += 1
            yield answer
        if self._failed is not None:
            raise self._failed

    def should_connect(self, now: float) -> bool:
        """Whether it is time for a stream, since there is none and there is something to send."""
        return not self.connected and bool(self._pending) and now >= self._connect_at and self._failed is None

    def sendable(self, now: float) -> Iterator[ClassifyStreamRequest]:
        """The messages to send now, each with the time that it has left."""
        while self._later and self._later[0][0] <= now:
            self._unsent.append(heapq.heappop(self._later)[1])
        while self._unsent:
            pending = self._pending.get(self._unsent.popleft())
            if pending is not None and pending.until > now:
                pending.message.timeout_ms = min(math.ceil((pending.until - now) * 1e3), _MAX_INT32)
                yield pending.message

    def settle(self, response: ClassifyStreamResponse, now: float) -> None:
        """Notes a response; one to a request that is answered already, or expired, changes nothing."""
        self._breaks, self._broken, self._broken_since = 0, None, None
        index = int(response.id) if response.id.isdecimal() else -1
        pending = self._pending.get(index)
        if pending is None:
            return
        outcome = _outcome(response, pending.texts)
        if isinstance(outcome, RequestError) and self._try_later(index, pending, outcome, now):
            return
        self._answer(index, outcome)

    def lose(self, error: RequestError | None, now: float) -> None:
        """Notes that the stream ended, and puts everything unanswered back, unless no other stream will do better.

        Args:
            error: how it ended; None: as if all were done.
            now: the time.
        """
        self.connected = False
        error = error or UnavailableError(grpc.StatusCode.UNAVAILABLE, "the server ended the stream")
        self._broken = error
        if self._pending:
            self._broken_since = now if self._broken_since is None else self._broken_since
            if error.code not in _BROKEN or now - self._broken_since >= self._timeout:
                self._failed = error
                self.expire(now)
                return
            self._drop_too_large(error)
        self._breaks += 1
        self._connect_at = now + max(error.retry_after or 0.0, backoff(self._breaks))
        waiting = {index for _, index in self._later}
        self._unsent = deque(index for index in self._pending if index not in waiting)

    def expire(self, now: float) -> None:
        """Answers the requests whose time is up."""
        while self._pending:
            index, pending = next(iter(self._pending.items()))
            if pending.until > now:
                return
            late = DeadlineExceededError(grpc.StatusCode.DEADLINE_EXCEEDED, f"no answer within {self._timeout:g} s")
            self._answer(index, pending.failure or self._broken or late)

    def seconds_to_wait(self, now: float) -> float | None:
        """Seconds until something is due even if nothing happens; None: nothing is."""
        if not self._pending:
            return None
        times = [next(iter(self._pending.values())).until]
        if not self.connected:
            times.append(self._connect_at)
        elif self._later:
            times.append(self._later[0][0])
        return max(0.0, min(times) - now)

    def _try_later(self, index: int, pending: _Pending, error: RequestError, now: float) -> bool:
        busy = isinstance(error, ResourceExhaustedError) and error.retry_after is not None
        if not busy and not isinstance(error, UnavailableError):
            return False
        pending.tries, pending.failure = pending.tries + 1, error
        due = now + (error.retry_after or 0.0) + backoff(pending.tries)
        if due >= pending.until:
            return False
        heapq.heappush(self._later, (due, index))
        return True

    def _drop_too_large(self, error: RequestError) -> None:
        # A message above the server's limit ends the whole stream. The largest is one of those, if any is.
        if is_too_large(error):
            self._answer(max(self._pending, key=lambda index: self._pending[index].message.ByteSize()), error)

    def _answer(self, index: int, outcome: Reply | RequestError) -> None:
        del self._pending[index]
        self._answers[index] = Answer(index, outcome)


def _text_request(item: str, index: int, options: Options) -> Request:
    if not isinstance(item, str):
        raise TypeError(f"item {index} of the stream is neither a text nor a Request but {type(item).__name__}")
    return Request([item], **options)


def _outcome(response: ClassifyStreamResponse, texts: int) -> Reply | RequestError:
    if response.WhichOneof("outcome") == "failure":
        return parse_failure(response.failure)
    if response.WhichOneof("outcome") is None:
        return request_error(grpc.StatusCode.INTERNAL, "the server gave neither a response nor a failure")
    try:
        return parse_reply(response.response, texts)
    except RequestError as error:
        return error
