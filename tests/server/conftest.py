"""A channel to the server that the tests of a file share."""

from collections.abc import Iterator

import grpc
import pytest

from support import Server


@pytest.fixture
def channel(server: Server) -> Iterator[grpc.Channel]:
    """Open a channel to the shared server."""
    with grpc.insecure_channel(server.address) as channel:
        yield channel
