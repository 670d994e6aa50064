"""What is known of the RPC that is being answered; whatever reports on it finds it here."""

from contextvars import ContextVar
from dataclasses import dataclass


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
    """

    method: str
    request_id: str = ""
    client: str = ""
    model: str = ""
    model_version: str = ""
    texts: int = 0


# Each RPC is handled in a task of its own, and tasks begun from it see the same call.
current: ContextVar[Call] = ContextVar("current")
