"""The models that a server has, by name and version."""

from dataclasses import dataclass

from bertwire_server.errors import ModelNotFound, NotReady, RequestError
from bertwire_server.repository.entry import Entry, Key, State, natural
from bertwire_server.repository.folder import Stamp
from bertwire_server.repository.leases import Loaded
from bertwire_server.repository.settings import Settings

UNLOADED = "unloaded"
_RETRY_SECONDS = 1.0
# Of models or versions, in a message.
_MOST_NAMED = 20


@dataclass(slots=True)
class Record:
    """One version of a model.

    Attributes:
        state: see `Entry`.
        reason: see `Entry`.
        stamp: of its folder, when that was last loaded or refused.
        loaded: what answers, where READY.
    """

    state: State = "LOADING"
    reason: str = ""
    stamp: Stamp | None = None
    loaded: Loaded | None = None


class Registry:
    """Finds models for queries. All methods belong to one event loop.

    Attributes:
        records: every version that is known. Whoever changes one calls `route` before anything else can run.
        settings: default versions and aliases; the same.
        started: whether all that should load at the start was tried.
    """

    def __init__(self) -> None:
        self.records: dict[Key, Record] = {}
        self.settings = Settings()
        self.started = False
        self._routes: dict[Key, Loaded] = {}
        # What names lead to: ("", "") to a model's name, (name, "") and (name, alias) to a version.
        self._targets: dict[Key, str] = {}

    def lease(self, name: str, version: str) -> Loaded:
        """The model of a name and a version or alias, for a `with` block, within which it stays loaded.

        Args:
            name: empty for the default model.
            version: empty for the model's default version.

        Raises:
            ModelNotFound: there is none.
            NotReady: it is warming up, or has failed.
        """
        try:
            return self._routes[name, version]
        except KeyError:
            raise self._missing(name, version) from None

    def entries(self) -> list[Entry]:
        """Every version that is known, by name, then version."""
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
        """The version that an alias stands for; any other version as it is."""
        return self.settings.of(name).aliases.get(version, version)

    def serving(self) -> dict[str, bool]:
        """Whether it answers, for each NAME, each NAME/VERSION, each NAME/ALIAS, and the server, which is ""."""
        named: dict[str, bool] = {}
        for name, version in self.records:
            named[name] = (name, "") in self._routes
            for each in (version, *self.settings.of(name).aliases):
                named[f"{name}/{each}"] = (name, each) in self._routes
        ready = ("", "") in self._routes or (self._default() is None and bool(self._routes))
        return named | {"": self.started and ready}

    def route(self) -> None:
        """Finds out anew what each name leads to, in one step.

        A name whose target cannot answer stays with the one that it had, if that one can.
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
        # Also where a further model has come and none is set: those who name none go on as they did.
        former = self._targets.get(("", ""))
        if chosen := next((each for each in (default, former) if each in names), None):
            targets["", ""] = chosen
            routes |= {("", version): loaded for (name, version), loaded in routes.items() if name == chosen}
        self._routes, self._targets = routes, targets

    def _default(self) -> str | None:
        names = {name for name, _ in self.records}
        return self.settings.default or (min(names) if len(names) == 1 else None)

    def _missing(self, name: str, version: str) -> RequestError:
        """Why there is no route."""
        if not self.records and not self.started:
            return NotReady("the model is warming up; try again in a moment", _RETRY_SECONDS)
        names = sorted({each for each, _ in self.records})
        model = name or self._default()
        if model is None:
            several = f"this server has several models; name one of {_listed(names)}"
            return ModelNotFound(several if names else "this server has no model")
        if model not in names:
            return ModelNotFound(f"no model {model[:64]!r} here; this server has {_listed(names) or 'none'}")
        wanted = version or self.settings.of(model).default or ""
        found = {each: record for (name, each), record in self.records.items() if name == model}
        chosen = {each: record for each, record in found.items() if self.resolve(model, wanted) in ("", each)}
        if not chosen:
            has = _listed(sorted(found, key=natural) + sorted(self.settings.of(model).aliases))
            return ModelNotFound(f"no version {version[:64]!r} of model {model!r} here; this server has {has}")
        if any(record.state == "LOADING" for record in chosen.values()):
            return NotReady("the model is warming up; try again in a moment", _RETRY_SECONDS)
        if all(record.state == "UNLOADING" or record.reason == UNLOADED for record in chosen.values()):
            return ModelNotFound(f"model {model!r} is unloaded, or the version that was asked for")
        reason = next(record.reason for record in chosen.values() if record.reason != UNLOADED)
        return NotReady(f"model {model!r} cannot answer: {reason}")


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(map(repr, names[:_MOST_NAMED])) + more
