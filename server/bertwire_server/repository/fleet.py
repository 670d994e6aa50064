"""Keeps the models of a server as their source has them: loads, replaces and unloads, one after the other.

A new version is verified and warmed up before it takes traffic. The switch is one step on the event loop; the old one
finishes the calls that it has, then stops. A bundle that is refused changes nothing but its own entry.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Protocol, TypeVar

from bertwire_client.errors import UserError, first_line
from bertwire_server.errors import ModelNotFound, ModelRefused
from bertwire_server.model.model import Model
from bertwire_server.repository.entry import Entry, Key
from bertwire_server.repository.folder import Found, Scan, Source
from bertwire_server.repository.leases import Loaded
from bertwire_server.repository.loader import Loader
from bertwire_server.repository.registry import UNLOADED, Record, Registry

_log = logging.getLogger(__name__)
_ENDED = "it has stopped answering; load it again"
T = TypeVar("T")


class FleetObserver(Protocol):
    """Told what becomes of models; raises nothing."""

    def load_ended(self, name: str, *, loaded: bool) -> None:
        """A version of a model was loaded, or refused."""

    def taken(self, model: Model) -> None:
        """A model takes traffic."""

    def gone(self, model: Model) -> None:
        """A model that took traffic takes none any more."""


class Fleet:
    """Loads and unloads models. All methods belong to one event loop; one operation runs at a time, to its end.

    Attributes:
        lease: as `Registry.lease`.
        entries: as `Registry.entries`.
    """

    def __init__(
        self,
        source: Source,
        loader: Loader,
        registry: Registry,
        publish: Callable[[Mapping[str, bool]], None],
        observer: FleetObserver | None = None,
    ) -> None:
        """Loads nothing yet; see `start`.

        Args:
            source: where bundles come from.
            loader: makes models of them.
            registry: where queries find the models; this fleet fills it.
            publish: told after each change what is serving, see `Registry.serving`.
            observer: told what becomes of models.
        """
        self._source, self._loader, self._registry, self._publish = source, loader, registry, publish
        self._observer = observer
        self.lease, self.entries = registry.lease, registry.entries
        self._lock = asyncio.Lock()
        self._stopping = False
        self._tasks: set[asyncio.Task[Any]] = set()
        # By hand: loaded although the settings leave it out, unloaded although they do not. Both hold till the other.
        self._asked: set[Key] = set()
        self._dropped: set[Key] = set()

    async def start(self) -> None:
        """Loads all that the source has, the default model first.

        Raises:
            UserError: the source cannot be used, or nothing of it can be loaded; the first reason.
        """
        await self._alone(self._start())

    def summary(self) -> str:
        """What is served, in one line."""
        ready = [(each, each.model) for each in self.entries() if each.model is not None]
        if len(ready) == 1:
            ((entry, model),) = ready
            return (
                f"{entry.name} version {entry.version}, variant {model.engine.variant.name} on {model.engine.provider}"
            )
        return f"{len(ready)} models: {', '.join(f'{each.name} {each.version}' for each, _ in ready)}"

    async def load(self, name: str, version: str = "") -> list[Entry]:
        """Loads versions of a model that are not READY, or READY with another bundle than the source now holds.

        Without a version it also unloads those that the settings do not choose any more.

        Args:
            name: the model's name.
            version: version or alias; empty for all that the settings choose.

        Returns:
            What became of each.

        Raises:
            ModelNotFound: the source has none.
            ModelRefused: one cannot be served; what was served before goes on.
        """
        return await self._alone(self._load(name, version))

    async def unload(self, name: str, version: str = "") -> None:
        """Takes versions of a model out of service; returns when their calls are answered and their memory is free.

        They stay unloaded until they are loaded by name again.

        Args:
            name: the model's name.
            version: version or alias; empty for all.

        Raises:
            ModelNotFound: none is there.
        """
        await self._alone(self._unload(name, version))

    async def reload(self, *, again: bool = True) -> list[Entry]:
        """Loads what is new or has changed, then unloads what has gone.

        Args:
            again: whether to try anew what was refused before and has not changed since.

        Returns:
            Every version that is known.

        Raises:
            ModelRefused: the source cannot be used; nothing has changed.
        """
        return await self._alone(self._reload(again=again))

    async def stop(self) -> None:
        """Ends what is under way after the bundle that is loading, and stops every model."""
        self._stopping = True
        async with self._lock:
            loaded = [record.loaded for record in self._registry.records.values() if record.loaded is not None]
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*(each.model.stop() for each in loaded))

    async def _alone(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs `work` when no other does, to its end even where the caller is cancelled."""

        async def locked() -> T:
            async with self._lock:
                return await work

        task = asyncio.create_task(locked())
        task.add_done_callback(lambda done: done.cancelled() or done.exception())  # the caller may have gone
        return await asyncio.shield(task)

    async def _start(self) -> None:
        scan = await asyncio.to_thread(self._source.scan)
        self._registry.settings = scan.settings
        wanted = self._wanted(scan)
        for each in wanted:
            self._registry.records[each.key] = Record()
        self._show()
        # The one error of a server of one bundle is what its command fails with.
        log = len(wanted) > 1
        errors = [error for each in wanted if (error := await self._ensure(each, log=log)) is not None]
        if len(errors) == len(wanted) and errors:
            raise errors[0] if isinstance(errors[0], UserError) else UserError(first_line(errors[0]))
        self._registry.started = not self._stopping
        self._show()

    async def _load(self, name: str, version: str) -> list[Entry]:
        scan = await self._scan()
        held = scan.versions(name)
        wanted = (
            [scan.settings.of(name).aliases.get(version, version)] if version else scan.settings.of(name).chosen(held)
        )
        if not held or not set(wanted) <= set(held):
            what = f"version {version[:64]!r} of model {name[:64]!r}" if held else f"model {name[:64]!r}"
            raise ModelNotFound(f"the repository has no {what}")
        self._registry.settings = scan.settings
        refused = None
        for key in [(name, each) for each in wanted]:
            self._dropped.discard(key)
            if version:
                self._asked.add(key)
            if (error := await self._ensure(scan.found[key], again=True)) is not None and refused is None:
                refused = ModelRefused(f"{name} version {key[1]}: {self._loader.shown(error, scan.found[key].path)}")
        self._show()
        if refused is not None:
            raise refused
        if not version:
            others = {key for key in self._registry.records if key[0] != name}
            await self._remove_others({(name, each) for each in wanted} | self._asked | others)
        return [each for each in self.entries() if each.name == name and each.version in wanted]

    async def _unload(self, name: str, version: str) -> None:
        wanted = self._registry.resolve(name, version)
        keys = [key for key in self._registry.records if key[0] == name and wanted in ("", key[1])]
        if not set(keys) - self._dropped:
            raise ModelNotFound(f"no model {name[:64]!r} here, or not that version of it")
        for key in keys:
            self._dropped.add(key)
            self._asked.discard(key)
        for key in keys:
            await self._remove(key)
            self._registry.records[key] = Record("UNAVAILABLE", UNLOADED)
        self._show()

    async def _reload(self, *, again: bool) -> list[Entry]:
        scan = await self._scan()
        self._registry.settings = scan.settings
        self._dropped &= scan.found.keys()
        self._asked &= scan.found.keys()
        wanted = self._wanted(scan)
        refused = 0
        for each in wanted:
            refused += await self._ensure(each, again=again) is not None
        await self._remove_others({each.key for each in wanted})
        _log.info("looked at the models again: %d versions, %d of them refused", len(wanted), refused)
        return self.entries()

    async def _scan(self) -> Scan:
        try:
            return await asyncio.to_thread(self._source.scan)
        except Exception as error:
            _log.error("the models stay as they are: %s", first_line(error), exc_info=_unforeseen(error))
            raise ModelRefused(self._loader.shown(error, self._source.path)) from None

    def _wanted(self, scan: Scan) -> list[Found]:
        """What should be loaded: the default model first, of each its set default version, then the highest."""
        names = sorted({name for name, _ in scan.found}, key=lambda each: (each != scan.settings.default, each))
        keys = []
        for name in names:
            settings, held = scan.settings.of(name), scan.versions(name)
            chosen = settings.chosen(held) + [version for each, version in self._asked if each == name]
            ordered = sorted(dict.fromkeys(chosen), key=lambda each: each != settings.default)
            keys += [(name, each) for each in ordered if each in held and (name, each) not in self._dropped]
        return [scan.found[key] for key in keys]

    async def _ensure(self, found: Found, *, again: bool = False, log: bool = True) -> Exception | None:
        """Loads a version that is not there or has changed; gives the reason where it is refused.

        Args:
            found: its folder.
            again: whether to try what was refused before and has not changed since.
            log: whether to log a refusal.
        """
        if self._stopping:
            return None
        record = self._registry.records.setdefault(found.key, Record())
        if record.stamp == found.stamp and (record.loaded is not None or not again):
            return None
        if record.loaded is None:
            record.state, record.reason = "LOADING", ""
            self._show()
        try:
            await self._open(found, record)
        except Exception as error:
            record.reason = self._loader.shown(error, found.path)
            if log:
                serves = "stays as it was" if record.loaded is not None else "is not served"
                _log.error("%s version %s %s: %s", *found.key, serves, first_line(error), exc_info=_unforeseen(error))
            record.state = "UNAVAILABLE" if record.loaded is None else "READY"
            self._tell(lambda observer: observer.load_ended(found.name, loaded=False))
            self._show()
            return error
        finally:
            record.stamp = found.stamp
        return None

    async def _open(self, found: Found, record: Record) -> None:
        """Puts what a folder holds into its record's place, unless that is there already."""
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
        self._tell(lambda observer: observer.load_ended(found.name, loaded=True))
        self._tell(lambda observer: observer.taken(model))
        self._show()
        _log.info("%s version %s takes calls, variant %s", *found.key, model.engine.variant.name)
        self._spawn(self._watch_over(found.key, record, record.loaded))
        if old is not None:
            await self._retire(old)

    async def _remove_others(self, wanted: set[Key]) -> None:
        """Unloads and forgets what is not wanted any more."""
        for key in [key for key in self._registry.records if key not in wanted | self._dropped]:
            await self._remove(key)
        self._show()

    async def _remove(self, key: Key) -> None:
        record = self._registry.records[key]
        if (loaded := record.loaded) is not None:
            record.loaded, record.state = None, "UNLOADING"
            self._show()
            await self._retire(loaded)
            _log.info("%s version %s is unloaded", *key)
        self._registry.records.pop(key)

    async def _retire(self, loaded: Loaded) -> None:
        self._tell(lambda observer: observer.gone(loaded.model))
        await loaded.retire()

    async def _watch_over(self, key: Key, record: Record, loaded: Loaded) -> None:
        """Takes a model out of service that ends by itself."""
        await loaded.model.ended()
        if record.loaded is not loaded or self._stopping:
            return
        record.loaded, record.state, record.reason = None, "UNAVAILABLE", _ENDED
        _log.error("%s version %s has stopped answering and is out of service", *key)
        self._show()
        await self._retire(loaded)

    def _show(self) -> None:
        self._registry.route()
        self._publish(self._registry.serving())

    def _tell(self, tell: Callable[[FleetObserver], None]) -> None:
        if self._observer is not None:
            tell(self._observer)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _unforeseen(error: Exception) -> Exception | None:
    return None if isinstance(error, UserError) else error
