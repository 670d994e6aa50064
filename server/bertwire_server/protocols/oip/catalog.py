"""What the protocol needs of whoever holds the models."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, Protocol

import grpc

from bertwire_server.errors import NotReady, RequestError
from bertwire_server.model.model import Model
from bertwire_server.repository.registry import Registry

State = Literal["LOADING", "READY", "UNLOADING", "UNAVAILABLE"]


class Entry(Protocol):
    """One version of a model."""

    @property
    def name(self) -> str:
        """The model's name."""

    @property
    def version(self) -> str:
        """Its version."""

    @property
    def state(self) -> State:
        """What can be expected of it."""

    @property
    def reason(self) -> str:
        """Why it is UNAVAILABLE."""

    @property
    def model(self) -> Model | None:
        """The loaded model; there where READY."""


class Catalog(Protocol):
    """Models by name and version."""

    def lease(self, name: str, version: str) -> AbstractContextManager[Model]:
        """As `Registry.lease`."""

    def entries(self) -> Sequence[Entry]:
        """Every version that is known, by name, then version."""


class Loader(Protocol):
    """Changes what is served."""

    async def load(self, name: str) -> object:
        """Loads a model, or its new versions; raises a `RequestError` where that fails."""

    async def unload(self, name: str) -> object:
        """Takes every version of a model out of service; raises `ModelNotFound` where there is none."""


@dataclass(frozen=True, slots=True)
class _Ready:
    name: str
    version: str
    model: Model
    state: State = "READY"
    reason: str = ""


class FixedCatalog:
    """The one model of a registry, which stays as it is."""

    def __init__(self, registry: Registry) -> None:
        self.lease = registry.lease

    def entries(self) -> Sequence[Entry]:
        """The model, once it is there."""
        try:
            with self.lease("", "") as model:
                return [_Ready(model.manifest.name, model.manifest.version, model)]
        except NotReady:
            return []

    async def load(self, name: str) -> None:
        """Raises `Unimplemented`."""
        self._refuse(name)

    async def unload(self, name: str) -> None:
        """Raises `Unimplemented`."""
        self._refuse(name)

    def _refuse(self, name: str) -> None:
        with self.lease(name, ""):
            raise Unimplemented("this server has one model, and neither loads nor unloads it")


class Unimplemented(RequestError):
    """The server does not do that."""

    code = grpc.StatusCode.UNIMPLEMENTED
