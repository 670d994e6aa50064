"""A loaded model, and how many calls are using it."""

import asyncio
import ctypes
from contextlib import suppress

from bertwire_server.model.model import Model


class Loaded:
    """Holds a model that is in use: `with loaded as model:` keeps it from being stopped within the block.

    One object for all calls, which only counts: a lease costs a call a fraction of a microsecond.

    Attributes:
        model: the model.
        sha256: which bundle it came from.
    """

    __slots__ = ("_leases", "_unused", "model", "sha256")

    def __init__(self, model: Model, sha256: str) -> None:
        self.model, self.sha256 = model, sha256
        self._leases = 0
        self._unused: asyncio.Event | None = None

    def __enter__(self) -> Model:
        self._leases += 1
        return self.model

    def __exit__(self, *_: object) -> None:
        self._leases -= 1
        if self._unused is not None and not self._leases:
            self._unused.set()

    async def retire(self) -> None:
        """Waits for the calls that are using it, and stops the model; call it once nobody can find it any more."""
        if self._leases:
            self._unused = asyncio.Event()
            await self._unused.wait()
        await free(self.model)


async def free(model: Model) -> None:
    """Stops a model and gives its memory back to the system."""
    await model.stop()
    model.predictor.close()
    # What is freed would stay with the process: a graph's weights are many pieces, among others that live on.
    with suppress(AttributeError, OSError):  # another C library than glibc
        await asyncio.to_thread(ctypes.CDLL(None).malloc_trim, 0)
