"""Typed clients of a bertwire server.

    with Client("localhost:8500") as client:
        reply = client.classify(["a text", "another"], top_k=1)
        print([(result.label, result.score) for result in reply.results])

`AsyncClient` is the same for asyncio.
"""

from bertwire_client.aio import AsyncClient
from bertwire_client.client import Client
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
]
