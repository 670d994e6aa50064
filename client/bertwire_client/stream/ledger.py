"""State of a stream's requests: unsent, pending, answered. No I/O; callers pass the time."""

import heapq
import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import grpc

from bertwire_client.errors import (
    DeadlineExceededError,
    InvalidArgumentError,
    RequestError,
    ResourceExhaustedError,
    UnavailableError,
)
from bertwire_client.retries import backoff
from bertwire_client.stream.kinds import Kind
from bertwire_client.wire import is_too_large, parse_failure, request_error

MAX_IN_FLIGHT = 64

# Codes after which a new stream may succeed: server restarts, proxies that end streams.
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
    """An unanswered request; `until` is when it expires, `failure` the last refusal."""

    message: Any
    texts: int
    until: float
    tries: int = 0
    failure: RequestError | None = None


class Ledger:
    """The requests of one stream; all times are of `time.monotonic`.

    Args:
        kind: what is sent.
        timeout: seconds per request from `add`, retries included.
        ordered: return answers in the order of the requests.

    Attributes:
        connected: whether a stream is open.
    """

    def __init__(self, kind: Kind, timeout: float, *, ordered: bool) -> None:
        if timeout <= 0:
            raise ValueError(f"timeout is {timeout}; it must be above 0")
        self.connected = False
        self._kind, self._timeout, self._ordered = kind, timeout, ordered
        self._taken, self._complete = 0, False
        # By index, oldest first: all have the same timeout, so the first expires first.
        self._pending: dict[int, _Pending] = {}
        self._unsent: deque[int] = deque()
        self._later: list[tuple[float, int]] = []
        self._answers: dict[int, Any] = {}
        self._given = 0
        self._breaks, self._connect_at = 0, 0.0
        self._broken: RequestError | None = None
        self._broken_since: float | None = None
        self._failed: RequestError | None = None

    def add(self, item: object, now: float) -> None:
        """Add the next request; raise `TypeError` for an item that is none."""
        index, self._taken = self._taken, self._taken + 1
        try:
            message = self._kind.message(item, index)
        except ValueError as error:
            # An invalid text fails alone, as if the server had refused it.
            fault = InvalidArgumentError(grpc.StatusCode.INVALID_ARGUMENT, str(error))
            self._answers[index] = self._kind.answer(index, fault)
            return
        if not self._pending and now >= self._connect_at + self._timeout:
            # No attempt was due for a whole timeout: restart the outage clock.
            self._broken_since = None
        self._pending[index] = _Pending(message, len(message.request.texts), now + self._timeout)
        self._unsent.append(index)

    def finish(self, _: object, __: float) -> None:
        """Note that no request follows."""
        self._complete = True

    @property
    def done(self) -> bool:
        """Whether all requests were added and their answers returned."""
        return self._complete and not self._pending and not self._answers

    def answers(self) -> Iterator[Any]:
        """Yield each new answer once; then raise `RequestError` where the stream failed for good."""
        while self._answers:
            index = self._given if self._ordered else next(iter(self._answers))
            if (answer := self._answers.pop(index, None)) is None:
                break
            self._given += 1
            yield answer
        if self._failed is not None:
            raise self._failed

    def should_connect(self, now: float) -> bool:
        """Whether to open a stream now: none is open, requests are pending and the backoff is over."""
        return not self.connected and bool(self._pending) and now >= self._connect_at and self._failed is None

    def sendable(self, now: float) -> Iterator[Any]:
        """Yield the messages to send now, each with its remaining time."""
        while self._later and self._later[0][0] <= now:
            self._unsent.append(heapq.heappop(self._later)[1])
        while self._unsent:
            pending = self._pending.get(self._unsent.popleft())
            if pending is not None and pending.until > now:
                pending.message.timeout_ms = min(math.ceil((pending.until - now) * 1e3), _MAX_INT32)
                yield pending.message

    def settle(self, response: Any, now: float) -> None:  # noqa: ANN401 - of the kind
        """Record a response; ignore one to an answered or expired request."""
        self._breaks, self._broken, self._broken_since = 0, None, None
        index = int(response.id) if response.id.isdecimal() else -1
        pending = self._pending.get(index)
        if pending is None:
            return
        outcome = self._outcome(response, pending.texts)
        if isinstance(outcome, RequestError) and self._try_later(index, pending, outcome, now):
            return
        self._answer(index, outcome)

    def lose(self, error: RequestError | None, now: float) -> None:
        """Record the end of the stream and requeue unanswered requests, unless the failure is final.

        Args:
            error: the stream's failure; None where the server ended it with OK.
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
        """Fail the requests past their timeout."""
        while self._pending:
            index, pending = next(iter(self._pending.items()))
            if pending.until > now:
                return
            late = DeadlineExceededError(grpc.StatusCode.DEADLINE_EXCEEDED, f"no answer within {self._timeout:g} s")
            self._answer(index, pending.failure or self._broken or late)

    def seconds_to_wait(self, now: float) -> float | None:
        """Return the seconds until the next timeout, retry or reconnect; None where nothing is pending."""
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
        # A message above the server's limit ends the whole stream; only the largest is certain to exceed it.
        if is_too_large(error):
            self._answer(max(self._pending, key=lambda index: self._pending[index].message.ByteSize()), error)

    def _answer(self, index: int, outcome: Any) -> None:  # noqa: ANN401 - a reply or a failure
        del self._pending[index]
        self._answers[index] = self._kind.answer(index, outcome)

    def _outcome(self, response: Any, texts: int) -> Any:  # noqa: ANN401 - as above
        if response.WhichOneof("outcome") == "failure":
            return parse_failure(response.failure)
        if response.WhichOneof("outcome") is None:
            return request_error(grpc.StatusCode.INTERNAL, "the server gave neither a response nor a failure")
        try:
            return self._kind.reply(response.response, texts)
        except RequestError as error:
            return error
