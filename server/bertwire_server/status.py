"""Mapping of errors to gRPC statuses."""

import logging
from functools import lru_cache
from math import ceil
from typing import NoReturn

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from bertwire_server.errors import INTERNAL_ERROR, NoSuchMethod, RequestError
from bertwire_server.rpc import Context

_log = logging.getLogger(__name__)
_Trailing = tuple[tuple[str, str | bytes], ...]


def public(error: Exception, method: str) -> RequestError:
    """Return the error to send to the client; log any other than `RequestError` in full."""
    if isinstance(error, RequestError):
        return error
    # Raised by generated servicers for methods that are not implemented.
    if isinstance(error, NotImplementedError) and str(error) == "Method not implemented!":
        return NoSuchMethod("this server does not answer the method")
    _log.error("%s failed", method, exc_info=error)
    return RequestError(INTERNAL_ERROR)


async def abort(context: Context, method: str, error: Exception) -> NoReturn:
    """End a call with the status of `error`; raises gRPC's abort exception."""
    shown = public(error, method)
    message, code = str(shown), shown.code
    trailing = None if shown.retry_after is None else _retry_info(code, message, milliseconds(shown.retry_after))
    await context.abort(code, message, trailing or ())


def milliseconds(seconds: float) -> int:
    """Return a retry delay rounded up to one significant digit, so that `_retry_info` is cached."""
    exact = max(1, ceil(1e3 * seconds))
    unit: int = 10 ** (len(str(exact)) - 1)
    return ceil(exact / unit) * unit


@lru_cache(1024)
def _retry_info(code: grpc.StatusCode, message: str, after: int) -> _Trailing:
    """Return trailing metadata with the retry delay in milliseconds.

    In both forms: RetryInfo in the status details for applications, and `grpc-retry-pushback-ms` for gRPC's own retries
    (gRFC A6).
    """
    info = RetryInfo(retry_delay=Duration(seconds=after // 1000, nanos=after % 1000 * 1_000_000))
    detail = AnyMessage()
    detail.Pack(info)
    status = Status(code=code.value[0], message=message, details=[detail])
    return (("grpc-retry-pushback-ms", str(after)), ("grpc-status-details-bin", status.SerializeToString()))
