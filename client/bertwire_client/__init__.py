"""Typed clients of a bertwire server.

    with Client("127.0.0.1:8500") as client:
        reply = client.classify(["a text", "another"], top_k=1)
        print([(result.label, result.score) for result in reply.results])

`AsyncClient` is the same for asyncio. `Client.stream` classifies many texts over one stream, `Client.embed` gives the
vectors of texts, `Client.embed_stream` over one stream, `Admin` loads and unloads models.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from bertwire_client.errors import (
    DeadlineExceededError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    RequestError,
    ResourceExhaustedError,
    UnauthenticatedError,
    UnavailableError,
)
from bertwire_client.replies import (
    Answer,
    Attribution,
    EmbedAnswer,
    Embedding,
    EmbedReply,
    Entity,
    Explanation,
    LabelScore,
    ModelInfo,
    Reply,
    Result,
    Timing,
)
from bertwire_core.errors import UserError

if TYPE_CHECKING:
    from bertwire_client.admin import Admin
    from bertwire_client.aio import AsyncClient
    from bertwire_client.channel import tls_credentials
    from bertwire_client.client import Client
    from bertwire_client.requests import Request

__all__ = [
    "Admin",
    "Answer",
    "AsyncClient",
    "Attribution",
    "Client",
    "DeadlineExceededError",
    "EmbedAnswer",
    "EmbedReply",
    "Embedding",
    "Entity",
    "Explanation",
    "FailedPreconditionError",
    "InvalidArgumentError",
    "LabelScore",
    "ModelInfo",
    "NotFoundError",
    "PermissionDeniedError",
    "Reply",
    "Request",
    "RequestError",
    "ResourceExhaustedError",
    "Result",
    "Timing",
    "UnauthenticatedError",
    "UnavailableError",
    "UserError",
    "tls_credentials",
]

# `import bertwire_client.errors` needs no gRPC.
_LOADED_WHEN_ASKED = {
    "Admin": "admin",
    "AsyncClient": "aio",
    "Client": "client",
    "Request": "requests",
    "tls_credentials": "channel",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a module's attributes
    if name in _LOADED_WHEN_ASKED:
        return getattr(import_module(f"{__name__}.{_LOADED_WHEN_ASKED[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
