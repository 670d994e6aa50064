"""What the parts of a call share: how they have gRPC's core do something, and how they tell the event loop."""

from collections.abc import Callable
from typing import Any

NO_FLAGS = 0
# Has a function called on the event loop, from any thread.
Post = Callable[..., None]
# Called by the thread that waits for the core, with the event; gives whether that can wait to be looked at.
Done = Callable[[Any], bool]
# Has the core do something for a call, and then call a function; False where the call is over.
Start = Callable[[tuple[Any, ...], Done], bool]
