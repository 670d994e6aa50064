"""The models of a server, kept in line with their source."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeVar

from bertwire_core.errors import UserError, first_line
from bertwire_server.errors import ModelNotFound, ModelRefused
from bertwire_server.repository.entry import Entry, Key
from bertwire_server.repository.folder import Found, Scan, Source
from bertwire_server.repository.loader import Loader
from bertwire_server.repository.registry import UNLOADED, Record, Registry
from bertwire_server.repository.service import FleetObserver, Service, unforeseen

_log = logging.getLogger(__name__)
# Most versions that the summary names. Doubled often, its line is too long for the parent of several processes.
_NAMED = 20
T = TypeVar("T")


class Fleet:
    """Loads and unloads models. All methods belong to one event loop; operations run one at a time, to their end.

    Attributes:
        lease: as `Registry.lease`.
        resolve: as `Registry.resolve`.
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
        """Create an empty fleet; `start` loads its models.

        Args:
            source: the source of bundles.
            loader: builds models.
            registry: the registry to fill.
            publish: called after each change with `Registry.serving`.
            observer: notified of loads and unloads.
        """
        self._source, self._loader, self._registry = source, loader, registry
        self._service = Service(loader, registry, publish, observer or FleetObserver())
        self.lease, self.resolve, self.entries = registry.lease, registry.resolve, registry.entries
        self._lock = asyncio.Lock()
        self._stopping = False
        self._operations: set[asyncio.Task[Any]] = set()
        # Explicit requests that override the settings: loaded versions and unloaded ones, each until the opposite.
        self._asked: set[Key] = set()
        self._dropped: set[Key] = set()

    async def start(self) -> None:
        """Load all models of the source, the default one first.

        Raises:
            UserError: the source is unusable, or all of it was refused; the first reason.
        """
        await self._alone(self._start)

    def summary(self) -> str:
        """Describe the served models in one line."""
        ready = [(each, each.model) for each in self.entries() if each.model is not None]
        if len(ready) == 1:
            ((entry, model),) = ready
            return (
                f"{entry.name} version {entry.version}, variant {model.engine.variant.name} on {model.engine.provider}"
            )
        if len(ready) > _NAMED:
            return f"{len(ready)} versions"
        return f"{len(ready)} versions: {', '.join(f'{each.name} {each.version}' for each, _ in ready)}"

    async def load(self, name: str, version: str = "") -> list[Entry]:
        """Load versions of a model that are not READY, or whose bundle has changed.

        Without a version, versions that the settings no longer choose are unloaded.

        Args:
            name: the model's name.
            version: version or alias; empty for all that the settings choose.

        Returns:
            the entries of these versions.

        Raises:
            ModelNotFound: the source has none.
            ModelRefused: a bundle was refused; the versions already served stay.
        """
        return await self._alone(lambda: self._load(name, version))

    async def unload(self, name: str, version: str = "") -> None:
        """Unload versions of a model, until they are loaded by name; an empty version means all.

        Returns when their calls are answered and their memory is free.

        Raises:
            ModelNotFound: none is loaded.
        """
        await self._alone(lambda: self._unload(name, version))

    async def reload(self, *, again: bool = True) -> list[Entry]:
        """Load new and changed versions, then unload removed ones.

        Args:
            again: retry bundles that were refused and have not changed since.

        Returns:
            all entries.

        Raises:
            ModelRefused: the source is unusable; nothing has changed.
        """
        return await self._alone(lambda: self._reload(again=again))

    async def stop(self) -> None:
        """Stop all models after the current load; later steps of the operation are skipped."""
        self._stopping = True
        self._service.close()
        async with self._lock:
            await self._service.stop()

    async def _alone(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run `work` under the lock, to its end even where the caller is cancelled."""

        async def locked() -> T:
            async with self._lock:
                return await work()

        task = asyncio.create_task(locked())
        self._operations.add(task)
        task.add_done_callback(self._operations.discard)
        # Retrieve the error, since the caller may have gone.
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return await asyncio.shield(task)

    async def _start(self) -> None:
        scan = await asyncio.to_thread(self._source.scan)
        self._registry.settings = scan.settings
        wanted = self._wanted(scan)
        for each in wanted:
            self._registry.records[each.key] = Record()
        self._service.show()
        # The only error of a server with a single bundle is raised, and so reported, by the command.
        log = len(wanted) > 1
        errors = [error for each in wanted if (error := await self._service.ensure(each, log=log)) is not None]
        if len(errors) == len(wanted) and errors:
            raise errors[0] if isinstance(errors[0], UserError) else UserError(first_line(errors[0]))
        self._registry.started = not self._stopping
        self._service.show()

    async def _load(self, name: str, version: str) -> list[Entry]:
        scan = await self._scan()
        settings, held = scan.settings.of(name), scan.versions(name)
        wanted = [settings.aliases.get(version, version)] if version else settings.chosen(held)
        if not held or not set(wanted) <= set(held):
            what = f"version {version[:64]!r} of model {name[:64]!r}" if held else f"model {name[:64]!r}"
            raise ModelNotFound(f"the repository has no {what}")
        self._registry.settings = scan.settings
        self._service.show()
        refused, keys = None, [(name, each) for each in wanted]
        for key in keys:
            self._dropped.discard(key)
            if version:
                self._asked.add(key)
            if (error := await self._service.ensure(scan.found[key], again=True)) is not None and refused is None:
                refused = ModelRefused(f"{name} version {key[1]}: {self._loader.shown(error, scan.found[key].path)}")
        self._service.show()
        if refused is not None:
            raise refused
        if not version:
            others = {key for key in self._registry.records if key[0] != name}
            await self._remove_others({*keys, *self._asked, *others})
        return [each for each in self.entries() if (each.name, each.version) in keys]

    async def _unload(self, name: str, version: str) -> None:
        wanted = self._registry.resolve(name, version)
        keys = [key for key in self._registry.records if key[0] == name and wanted in ("", key[1])]
        if not set(keys) - self._dropped:
            raise ModelNotFound(f"no model {name[:64]!r} here, or not that version of it")
        for key in keys:
            self._dropped.add(key)
            self._asked.discard(key)
        for key in keys:
            await self._service.remove(key)
            self._registry.records[key] = Record("UNAVAILABLE", UNLOADED)
        self._service.show()

    async def _reload(self, *, again: bool) -> list[Entry]:
        scan = await self._scan()
        self._registry.settings = scan.settings
        self._service.show()
        self._dropped &= scan.found.keys()
        self._asked &= scan.found.keys()
        wanted = self._wanted(scan)
        refused = 0
        for each in wanted:
            refused += await self._service.ensure(each, again=again) is not None
        await self._remove_others({each.key for each in wanted})
        _log.info("looked at the models again: versions %d, refused %d", len(wanted), refused)
        return self.entries()

    async def _scan(self) -> Scan:
        try:
            return await asyncio.to_thread(self._source.scan)
        except Exception as error:
            _log.error("the models stay as they are: %s", first_line(error), exc_info=unforeseen(error))
            self._service.refused("")
            raise ModelRefused(self._loader.shown(error, self._source.path)) from None

    def _wanted(self, scan: Scan) -> list[Found]:
        """Return the folders to load: the default model first, per model its configured default version, then the
        highest.
        """
        names = sorted({name for name, _ in scan.found}, key=lambda each: (each != scan.settings.default, each))
        keys = []
        for name in names:
            settings, held = scan.settings.of(name), scan.versions(name)
            chosen = settings.chosen(held) + [version for each, version in self._asked if each == name]
            ordered = sorted(dict.fromkeys(chosen), key=lambda each: each != settings.default)
            keys += [(name, each) for each in ordered if each in held and (name, each) not in self._dropped]
        return [scan.found[key] for key in keys]

    async def _remove_others(self, wanted: set[Key]) -> None:
        """Unload and forget versions that are not wanted."""
        for key in [key for key in self._registry.records if key not in wanted | self._dropped]:
            await self._service.remove(key)
        self._service.show()
