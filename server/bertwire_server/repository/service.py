"""Loading and unloading of model versions, one at a time.

A new version is verified and warmed up before it serves. It replaces the old one in one step on the event loop; the old
one finishes its calls, then stops. A refused bundle changes only its own entry.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping

from bertwire_core.errors import UserError, first_line
from bertwire_server.model.model import Model
from bertwire_server.repository.entry import Key
from bertwire_server.repository.folder import Found
from bertwire_server.repository.leases import Loaded
from bertwire_server.repository.loader import Loader
from bertwire_server.repository.registry import Record, Registry

_log = logging.getLogger(__name__)
_ENDED = "it has stopped answering; load it again"


class FleetObserver:
    """Notified of loads and unloads; this one ignores them. Must not raise."""

    def load_ended(self, name: str, *, loaded: bool) -> None:
        """Record a load or refusal of a version."""

    def taken(self, model: Model) -> None:
        """Record that a model serves."""

    def gone(self, model: Model) -> None:
        """Record that a model serves no longer."""


class Service:
    """Changes a registry. All methods belong to one event loop; `ensure` and `remove` must not overlap."""

    def __init__(
        self,
        loader: Loader,
        registry: Registry,
        publish: Callable[[Mapping[str, bool]], None],
        observer: FleetObserver,
    ) -> None:
        self._loader, self._registry, self._publish, self._observer = loader, registry, publish, observer
        self._stopping = False
        self._watching: set[asyncio.Task[None]] = set()

    def refused(self, name: str) -> None:
        """Notify the observer that nothing could be loaded, of a model or, with an empty name, at all."""
        self._observer.load_ended(name, loaded=False)

    def show(self) -> None:
        """Recompute the routes and publish what is serving."""
        self._registry.route()
        self._publish(self._registry.serving())

    def close(self) -> None:
        """Load nothing more."""
        self._stopping = True

    async def stop(self) -> None:
        """Stop every model."""
        for task in self._watching:
            task.cancel()
        loaded = [record.loaded for record in self._registry.records.values() if record.loaded is not None]
        await asyncio.gather(*(each.model.stop() for each in loaded))

    async def ensure(self, found: Found, *, again: bool = False, log: bool = True) -> Exception | None:
        """Load a version that is missing or has changed; return the error where it is refused.

        Args:
            found: its folder.
            again: retry a bundle that was refused and has not changed since.
            log: log a refusal.
        """
        if self._stopping:
            return None
        record = self._registry.records.setdefault(found.key, Record())
        good = record.loaded is not None and not record.reason
        if record.stamp == found.stamp and (good or not again):
            return None
        if record.loaded is None:
            record.state, record.reason = "LOADING", ""
            self.show()
        try:
            await self._open(found, record)
        except Exception as error:
            record.reason = self._loader.shown(error, found.path)
            if log:
                serves = "stays as it was" if record.loaded is not None else "is not served"
                _log.error("%s version %s %s: %s", *found.key, serves, first_line(error), exc_info=unforeseen(error))
            record.state = "UNAVAILABLE" if record.loaded is None else "READY"
            self.refused(found.name)
            self.show()
            return error
        finally:
            record.stamp = found.stamp
        return None

    async def _open(self, found: Found, record: Record) -> None:
        """Load a folder's bundle into the record, unless it is loaded already."""
        bundle = await self._loader.open(found)
        if record.loaded is not None and record.loaded.sha256 == bundle.sha256:
            record.reason = ""
            return
        model = await self._loader.load(bundle)
        if self._stopping:
            await model.stop()
            return
        model.start()
        old, record.loaded = record.loaded, Loaded(model, bundle.sha256)
        record.state, record.reason = "READY", ""
        self._observer.load_ended(found.name, loaded=True)
        self._observer.taken(model)
        self.show()
        limits = model.batch_limits
        about = model.engine.variant.name, limits.texts, limits.tokens
        _log.info("%s version %s takes calls, variant %s, batches of up to %d texts, %d tokens", *found.key, *about)
        watch = asyncio.create_task(self._watch_over(found.key, record, record.loaded))
        self._watching.add(watch)
        watch.add_done_callback(self._watching.discard)
        if old is not None:
            await self._retire(old)

    async def remove(self, key: Key) -> None:
        """Unload and forget a version; return when its calls are answered and its memory is free."""
        record = self._registry.records[key]
        if (loaded := record.loaded) is not None:
            record.loaded, record.state = None, "UNLOADING"
            self.show()
            await self._retire(loaded)
            _log.info("%s version %s is unloaded", *key)
        self._registry.records.pop(key)

    async def _retire(self, loaded: Loaded) -> None:
        self._observer.gone(loaded.model)
        await loaded.retire()

    async def _watch_over(self, key: Key, record: Record, loaded: Loaded) -> None:
        """Unload a model whose scheduler ends by itself."""
        await loaded.model.ended()
        if record.loaded is not loaded or self._stopping:
            return
        record.loaded, record.state, record.reason = None, "UNAVAILABLE", _ENDED
        _log.error("%s version %s has stopped answering and is out of service", *key)
        self.show()
        await self._retire(loaded)


def unforeseen(error: Exception) -> Exception | None:
    """Return the error for the log's traceback, unless a user can have caused it."""
    return None if isinstance(error, UserError) else error
