"""The calls to send: their texts, priority and deadline."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from bertwire_client.requests import Priority
from bertwire_load.mix import Mix


@dataclass(frozen=True, slots=True)
class Request:
    """One call to send.

    Attributes:
        texts: its texts.
        priority: its priority on the server.
        deadline: seconds that it may take from when it is sent.
    """

    texts: list[str]
    priority: Priority
    deadline: float


def requests(
    texts: Iterator[str], sizes: Mix[int], priorities: Mix[Priority], deadlines: Mix[float], generator: random.Random
) -> Iterator[Request]:
    """Yield calls without end, whose size, priority and deadline are drawn independently of each other."""
    while True:
        size = sizes.draw(generator)
        yield Request([next(texts) for _ in range(size)], priorities.draw(generator), deadlines.draw(generator))
