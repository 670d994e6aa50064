"""Typed clients of a bertwire server.

    with Client("localhost:8500") as client:
        reply = client.classify(["a text", "another"], top_k=1)
        print([(result.label, result.score) for result in reply.results])

`AsyncClient` is the same for asyncio.
"""

from typing import TYPE_CHECKING, Any

from bertwire_client.errors import (
    DeadlineExceededError,
    InvalidArgumentError,
    NotFoundError,
    RequestError,
    ResourceExhaustedError,
    UnavailableError,
    UserError,
)
from bertwire_client.replies import LabelScore, Reply, Result, Timing

if TYPE_CHECKING:
    from bertwire_client.aio import AsyncClient
    from bertwire_client.channel import tls_credentials
    from bertwire_client.client import Client

__all__ = [
    "AsyncClient",
    "Client",
    "DeadlineExceededError",
    "InvalidArgumentError",
    "LabelScore",
    "NotFoundError",
    "Reply",
    "RequestError",
    "ResourceExhaustedError",
    "Result",
    "Timing",
    "UnavailableError",
    "UserError",
    "tls_credentials",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a module's attributes
    # Every part imports something of this package, and most of them need no gRPC.
    if name == "Client":
        from bertwire_client.client import Client

        return Client
    if name == "AsyncClient":
        from bertwire_client.aio import AsyncClient

        return AsyncClient
    if name == "tls_credentials":
        from bertwire_client.channel import tls_credentials

        return tls_credentials
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
