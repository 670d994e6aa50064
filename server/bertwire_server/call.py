"""The RPC that is being answered, for all that reports on it."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import grpc

    from bertwire_runtime.tokenizer import Text
    from bertwire_server.query import Prediction


class Trace(Protocol):
    """Span of one call.

    Attributes:
        trace_id: 32 hexadecimal digits.
    """

    trace_id: str

    def answered(self, predictions: Sequence[Prediction]) -> None:
        """Add the spans of texts that were answered just now."""

    def end(self, call: Call, code: grpc.StatusCode) -> None:
        """End the span with the status of the call."""


@dataclass(slots=True)
class Call:
    """One RPC.

    Attributes:
        method: its full name, as `/bertwire.v1.Classifier/Classify`.
        request_id: the caller's `x-request-id`; empty where it sent none.
        client: name of the caller; empty where no credential is asked for.
        model: the model that was asked, once it was found.
        model_version: its version.
        texts: number of texts that it has asked to classify so far.
        content: texts that it has asked to classify last, which only the log of calls may show, and only masked.
        failures: of a stream, the number of its messages that failed, by code.
        trace: the span of the call; None where traces are off.
    """

    method: str
    request_id: str = ""
    client: str = ""
    model: str = ""
    model_version: str = ""
    texts: int = 0
    content: Sequence[Text] = field(default=(), repr=False)
    failures: dict[str, int] = field(default_factory=dict)
    trace: Trace | None = field(default=None, repr=False)


# gRPC handles each RPC in a task of its own; tasks begun from it see the same call.
current: ContextVar[Call] = ContextVar("current")
