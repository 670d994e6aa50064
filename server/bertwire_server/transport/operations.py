"""What the parts of a call share: how they have gRPC's core do something, and how they tell the event loop."""

from collections.abc import Callable
from typing import Any

NO_FLAGS = 0
# Of a stream, what may wait on its way in, and on its way out, in bytes as `size` counts them.
ROOM = 16384
# Has a function called on the event loop; for the thread that waits for the core, which wakes the loop afterwards.
Post = Callable[..., None]
# Called by the thread that waits for the core, with the event; gives whether that can wait to be looked at.
Done = Callable[[Any], bool]
# Has the core do something for a call, and then call a function; False where the call is over.
Start = Callable[[tuple[Any, ...], Done], bool]


def size(content: bytes | None) -> int:
    """What a message counts as, in bytes: 256 more than its own, so that no more than 64 small ones wait."""
    return 256 + (0 if content is None else len(content))
