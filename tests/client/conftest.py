"""The server that a test of a client decides over."""

from collections.abc import Iterator

import pytest

from fake import FakeServer


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    """A running fake server."""
    server = FakeServer()
    yield server
    server.stop()


@pytest.fixture
def nowhere() -> str:
    """An address where nothing listens."""
    server = FakeServer()
    server.stop()
    return server.address
