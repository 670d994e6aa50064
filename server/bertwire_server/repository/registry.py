"""Registry of models by name and version."""

from dataclasses import dataclass

from bertwire_server.errors import ModelNotFound, NotReady, RequestError, listed
from bertwire_server.repository.entry import Entry, Key, State, natural
from bertwire_server.repository.folder import Stamp
from bertwire_server.repository.leases import Loaded
from bertwire_server.repository.settings import Settings

UNLOADED = "unloaded"
_RETRY_SECONDS = 1.0


@dataclass(slots=True)
class Record:
    """State of a model version.

    Attributes:
        stamp: the folder's stamp at the last load or refusal.
        loaded: the loaded model; None unless READY.
    """

    state: State = "LOADING"
    reason: str = ""
    stamp: Stamp | None = None
    loaded: Loaded | None = None


class Registry:
    """Routes queries to models. All methods belong to one event loop.

    Attributes:
        records: all known versions. Call `route` after each change, without awaiting in between.
        settings: default versions and aliases; likewise.
        started: whether all initial loads were tried.
    """

    def __init__(self) -> None:
        self.records: dict[Key, Record] = {}
        self.settings = Settings()
        self.started = False
        self._routes: dict[Key, Loaded] = {}
        # Targets: of ("", "") the default model's name, of (name, "") and (name, alias) a version.
        self._targets: dict[Key, str] = {}

    def lease(self, name: str, version: str) -> Loaded:
        """Return a model to lease in a `with` block, within which it stays loaded.

        Args:
            name: empty for the default model.
            version: version or alias; empty for the model's default version.

        Raises:
            ModelNotFound: there is none.
            NotReady: it is warming up, or has failed.
        """
        try:
            return self._routes[name, version]
        except KeyError:
            raise self._missing(name, version) from None

    def entries(self) -> list[Entry]:
        """Return all known versions, by name and version."""
        return [
            Entry(
                name,
                version,
                record.state,
                record.reason,
                tuple(
                    sorted(key[1] for key, to in self._targets.items() if key[0] == name and key[1] and to == version)
                ),
                default=self._targets.get((name, "")) == version,
                model=record.loaded.model if record.loaded else None,
            )
            for (name, version), record in sorted(
                self.records.items(), key=lambda each: (each[0][0], natural(each[0][1]))
            )
        ]

    def resolve(self, name: str, version: str) -> str:
        """Return the version of an alias; any other version unchanged."""
        return self.settings.of(name).aliases.get(version, version)

    def serving(self) -> dict[str, bool]:
        """Return whether each NAME, NAME/VERSION, NAME/ALIAS and the server ("") is serving."""
        named: dict[str, bool] = {}
        for name, version in self.records:
            named[name] = (name, "") in self._routes
            for each in (version, *self.settings.of(name).aliases):
                named[f"{name}/{each}"] = (name, each) in self._routes
        ready = ("", "") in self._routes or (self._default() is None and bool(self._routes))
        return named | {"": self.started and ready}

    def route(self) -> None:
        """Recompute all routes.

        A name whose target is not ready keeps its former target, while that is ready.
        """
        ready = {key: record.loaded for key, record in self.records.items() if record.loaded is not None}
        names = {name for name, _ in ready}
        targets: dict[Key, str] = {}
        for name in names:
            settings = self.settings.of(name)
            highest = max((version for each, version in ready if each == name), key=natural)
            wanted = {"": settings.default or highest, **settings.aliases}
            for alias, version in wanted.items():
                before = self._targets.get((name, alias), version)
                if target := next((each for each in (version, before) if (name, each) in ready), None):
                    targets[name, alias] = target
        routes = dict(ready) | {(name, alias): ready[name, version] for (name, alias), version in targets.items()}
        default = self._default()
        # Also where a second model was added without a configured default: requests without a name keep their model.
        former = self._targets.get(("", ""))
        if chosen := next((each for each in (default, former) if each in names), None):
            targets["", ""] = chosen
            routes |= {("", version): loaded for (name, version), loaded in routes.items() if name == chosen}
        self._routes, self._targets = routes, targets

    def _default(self) -> str | None:
        names = {name for name, _ in self.records}
        return self.settings.default or (min(names) if len(names) == 1 else None)

    def _missing(self, name: str, version: str) -> RequestError:
        """Return the error for a missing route."""
        if not self.records and not self.started:
            return NotReady("the model is warming up; try again in a moment", _RETRY_SECONDS)
        names = sorted({each for each, _ in self.records})
        model = name or self._default()
        if model is None:
            several = f"this server has several models: {listed(names)}; name the one to ask (--model of the commands)"
            return ModelNotFound(several if names else "this server has no model")
        if model not in names:
            return ModelNotFound(f"no model {model[:64]!r} here; this server has {listed(names) or 'none'}")
        wanted = version or self.settings.of(model).default or ""
        found = {each: record for (name, each), record in self.records.items() if name == model}
        chosen = {each: record for each, record in found.items() if self.resolve(model, wanted) in ("", each)}
        if not chosen:
            has = listed(sorted(found, key=natural) + sorted(self.settings.of(model).aliases))
            return ModelNotFound(f"no version {version[:64]!r} of model {model!r} here; this server has {has}")
        if any(record.state == "LOADING" for record in chosen.values()):
            return NotReady("the model is warming up; try again in a moment", _RETRY_SECONDS)
        if all(record.state == "UNLOADING" or record.reason == UNLOADED for record in chosen.values()):
            return ModelNotFound(f"model {model!r} is unloaded, or the version that was asked for")
        reason = next(record.reason for record in chosen.values() if record.reason != UNLOADED)
        return NotReady(f"model {model!r} cannot answer: {reason}")
