"""Admission of calls, the count of those in flight, and the drain."""

import asyncio
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from bertwire_server.access.gate import OPEN, Gate, Permit
from bertwire_server.access.identity import ADMIN, required_scope
from bertwire_server.call import Call, current
from bertwire_server.errors import AnswerTooLarge, Forbidden, OneOfSeveral, Overloaded, Unauthenticated
from bertwire_server.incoming import Messages
from bertwire_server.rpc import Context
from bertwire_server.telemetry.reporting import Telemetry

_MAX_REQUEST_ID = 128


class Edge:
    """Admits calls to methods. Belongs to one event loop.

    Attributes:
        in_flight: calls that have begun and not ended.
        idle: set while there is none.
        telemetry: observes every call.
    """

    def __init__(
        self, gate: Gate | None, telemetry: Telemetry, most_bytes: int = sys.maxsize, *, one_of_several: bool = False
    ) -> None:
        """Create an open edge.

        Args:
            gate: authorises callers; None accepts everyone.
            telemetry: observes every call.
            most_bytes: largest message to send; above gRPC's limit, gRPC would end the call with its own error.
            one_of_several: whether other processes share the port; then no call changes the models.
        """
        self._gate, self.telemetry, self._most_bytes = gate, telemetry, most_bytes
        self._one_of_several = one_of_several
        self.in_flight, self.idle = 0, asyncio.Event()
        self.idle.set()
        self._closing = False
        self._released = asyncio.Event()
        self._released.set()
        self._reading: set[Messages] = set()

    def hold(self) -> None:
        """Hold back the answers of unary calls until `close`, so that callers that wait for one send no new call."""
        self._released.clear()

    def close(self) -> None:
        """End streams with UNAVAILABLE once their received messages are answered; unary calls finish."""
        self._closing = True
        self._released.set()
        for each in self._reading:
            each.close()

    @contextmanager
    def call(self, method: str, context: Context, *, stream: bool) -> Iterator[Permit]:
        """Admit a call and report its outcome, or raise the refusal.

        Args:
            method: full name.
            context: gRPC's context.
            stream: whether to count messages instead of the call.
        """
        self.in_flight += 1
        self.idle.clear()
        try:
            metadata = dict(context.invocation_metadata() or ())
            call = Call(method, str(metadata.get("x-request-id", ""))[:_MAX_REQUEST_ID])
            current.set(call)
            with self.telemetry.of_call(call, context, stream=stream), self._admit(call, metadata, context) as permit:
                yield permit
        finally:
            # The call ends only when its answer is sent, however slow the caller reads.
            context.add_done_callback(lambda _: self._ended())  # type: ignore[arg-type]  # of another context

    def _ended(self) -> None:
        self.in_flight -= 1
        if not self.in_flight:
            self.idle.set()

    def _admit(self, call: Call, metadata: Mapping[str, str | bytes], context: Context) -> Permit:
        def known(client: str) -> None:
            call.client = client

        try:
            permit = OPEN if self._gate is None else self._gate.admit(call.method, metadata, context, known)
        except (Unauthenticated, Forbidden, Overloaded) as error:
            self.telemetry.metrics.refused(error)
            raise
        if self._one_of_several and required_scope(call.method) == ADMIN:
            with permit:
                raise OneOfSeveral
        return permit

    @contextmanager
    def messages(self, context: Context, quiet_seconds: float) -> Iterator[Messages]:
        """Yield the call's messages; once the edge is closing, reading ends after `quiet_seconds` without one."""
        found = Messages(context, quiet_seconds)
        self._reading.add(found)
        if self._closing:
            found.close()
        try:
            yield found
        finally:
            self._reading.discard(found)

    def sized(self, content: bytes) -> bytes:
        """Return the message; raise `AnswerTooLarge` where it exceeds the limit."""
        if len(content) > self._most_bytes:
            raise AnswerTooLarge(len(content), self._most_bytes)
        return content

    async def released(self) -> None:
        """Wait until answers may be sent."""
        await self._released.wait()
