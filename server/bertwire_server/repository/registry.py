"""The models that a server has, by name and version."""

from collections.abc import Iterator
from contextlib import contextmanager

from bertwire_server.errors import ModelNotFound, NotReady
from bertwire_server.model.model import Model


class Registry:
    """Finds models for queries. All methods belong to one event loop."""

    def __init__(self) -> None:
        self._model: Model | None = None

    def use(self, model: Model) -> None:
        """Answers with `model` from now on."""
        self._model = model

    @contextmanager
    def lease(self, name: str, version: str) -> Iterator[Model]:
        """The model of a name and a version or alias, which stays loaded within the block.

        Args:
            name: empty for the default model.
            version: empty for the model's default version.

        Raises:
            ModelNotFound: there is none.
            NotReady: it is warming up.
        """
        if self._model is None:
            raise NotReady("the model is warming up; try again in a moment", retry_after=1.0)
        manifest = self._model.manifest
        if name not in ("", manifest.name) or version not in ("", manifest.version):
            raise ModelNotFound(f"no model {name[:64]!r} here; this server has {manifest.name!r}")
        yield self._model

    def shed(self, remaining: float) -> None:
        """Refuses a call of which nothing is known yet, where there is only one model that it can be for."""
        if self._model is not None:
            self._model.shed(remaining)
