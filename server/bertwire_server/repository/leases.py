"""A loaded model with a count of its leases."""

import asyncio
import ctypes
from contextlib import suppress

from bertwire_server.model.model import Model


class Loaded:
    """A loaded model; `with loaded as model:` keeps it from being stopped within the block.

    One shared object with a counter, so that a lease costs a fraction of a microsecond.
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
        """Wait for all leases to end and stop the model; call it once no new lease is possible."""
        if self._leases:
            self._unused = asyncio.Event()
            await self._unused.wait()
        await free(self.model)


async def free(model: Model) -> None:
    """Stop a model and return its memory to the system."""
    await model.stop()
    model.predictor.close()
    # glibc otherwise keeps the freed memory: a graph's weights are many small blocks between others in use.
    with suppress(AttributeError, OSError):  # not glibc
        await asyncio.to_thread(ctypes.CDLL(None).malloc_trim, 0)
