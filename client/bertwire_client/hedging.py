"""Hedged calls: a call without an answer after a while is sent once more, and the first answer is taken.

gRPC's core does not implement the hedging policy of service configs (gRFC A6), so both clients do it here. Where one of
the two calls fails, the other decides; but a refusal, which the other would get too, decides at once. The call that is
not needed any more is cancelled.
"""

import asyncio
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any

import grpc

from bertwire_client.requests import Metadata

# Those that a second call of the same content gets too.
_REFUSALS = (
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.UNIMPLEMENTED,
)


def check_delay(hedge_after: float | None) -> None:
    """Raise `ValueError` for a delay that is not above 0 seconds."""
    if hedge_after is not None and not (isinstance(hedge_after, int | float) and hedge_after > 0):
        raise ValueError(f"hedge_after is {hedge_after!r}; give seconds above 0, or None")


def hedged(method: Any, after: float | None) -> Callable[..., Any]:  # noqa: ANN401 - gRPC's
    """Return a method for threads that sends a call again after `after` seconds; None: the method itself."""
    if after is None:
        return method  # type: ignore[no-any-return]

    def call(message: object, *, timeout: float, metadata: Metadata) -> Any:  # noqa: ANN401 - a response
        until = time.monotonic() + timeout
        ended: SimpleQueue[Any] = SimpleQueue()

        def begin(seconds: float) -> Any:  # noqa: ANN401 - gRPC's
            begun = method.future(message, timeout=seconds, metadata=metadata)
            begun.add_done_callback(ended.put)
            return begun

        calls = [begin(timeout)]
        try:
            try:
                first = ended.get(timeout=after)
            except Empty:
                if (left := until - time.monotonic()) > 0:
                    calls.append(begin(left))
                first = ended.get()
            if len(calls) > 1 and first.code() not in (grpc.StatusCode.OK, *_REFUSALS):
                first = ended.get()
            return first.result()
        finally:
            for each in calls:
                each.cancel()

    return call


def hedged_async(method: Any, after: float | None) -> Callable[..., Any]:  # noqa: ANN401 - gRPC's
    """Return the same for asyncio."""
    if after is None:
        return method  # type: ignore[no-any-return]

    async def call(message: object, *, timeout: float, metadata: Metadata) -> Any:  # noqa: ANN401, ASYNC109 - as gRPC's
        until = time.monotonic() + timeout

        def begin(seconds: float) -> asyncio.Future[Any]:
            begun: asyncio.Future[Any] = asyncio.ensure_future(method(message, timeout=seconds, metadata=metadata))
            # Looked at, or asyncio would log the failure of the one that is not needed.
            begun.add_done_callback(_failed)
            return begun

        calls = [begin(timeout)]
        try:
            await asyncio.wait(calls, timeout=after)
            if not calls[0].done() and (left := until - time.monotonic()) > 0:
                calls.append(begin(left))
            ended, others = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
            if others and not any(map(_decides, ended)):
                ended, _ = await asyncio.wait(others)
            return min(ended, key=_failed).result()
        finally:
            for each in calls:
                each.cancel()

    return call


def _failed(call: asyncio.Future[Any]) -> bool:
    return call.cancelled() or call.exception() is not None


def _decides(call: asyncio.Future[Any]) -> bool:
    if call.cancelled():
        return False
    error = call.exception()
    return error is None or (isinstance(error, grpc.RpcError) and error.code() in _REFUSALS)
