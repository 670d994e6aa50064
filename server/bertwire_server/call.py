"""Context of the current RPC, for logs, traces and metrics."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bertwire_runtime.tokenizer import Text
    from bertwire_server.telemetry.tracing import Trace


@dataclass(slots=True)
class Call:
    """One RPC.

    Attributes:
        method: full name, as `/bertwire.v1.Classifier/Classify`.
        request_id: the caller's `x-request-id`; empty where it sent none.
        client: the caller; empty without authentication.
        model: the requested model, once found.
        texts: texts requested so far.
        content: the texts requested last, only for the call log, masked.
        failures: of a stream, failed messages by code.
        trace: the call's span; None where traces are off.
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


# Every RPC has its own task; tasks created in it inherit the call.
current: ContextVar[Call] = ContextVar("current")
