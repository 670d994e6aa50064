"""What is known of the RPC that is being answered; whatever reports on it finds it here."""

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
        method: its full name, as `/bertwire.v1.Classifier/Classify`.
        request_id: the caller's `x-request-id`; empty where it sent none.
        client: who calls; empty where nobody has to say.
        model: the model that was asked, once it is known to be there.
        model_version: its version.
        texts: how many texts it has asked to classify so far.
        content: the texts it has asked to classify last, which only the log of calls may show, and only masked.
        failures: of a stream, how many of its messages failed, by code.
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


# Each RPC is handled in a task of its own, and tasks begun from it see the same call.
current: ContextVar[Call] = ContextVar("current")
