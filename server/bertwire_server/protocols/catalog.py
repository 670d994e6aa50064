"""Model listing and lookup of `bertwire.v1`."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from bertwire.v1 import classifier_pb2 as pb
from bertwire_runtime.bundle import Scores, Variant
from bertwire_server.errors import ModelNotFound, NotReady
from bertwire_server.model.model import Model
from bertwire_server.repository.entry import Entry
from bertwire_server.rpc import Context


class Catalog(Protocol):
    """Lookup of models by name and version."""

    @property
    def lease(self) -> Callable[[str, str], AbstractContextManager[Model]]: ...  # noqa: D102

    @property
    def resolve(self) -> Callable[[str, str], str]: ...  # noqa: D102

    @property
    def entries(self) -> Callable[[], Sequence[Entry]]: ...  # noqa: D102


class ModelLoader(Protocol):
    """Loads and unloads models."""

    async def load(self, name: str, version: str = "") -> object:
        """Load versions of a model; raise a `RequestError` where one fails."""

    async def unload(self, name: str, version: str = "") -> object:
        """Unload versions of a model; raise `ModelNotFound` where there is none."""


class ModelListing:
    """The methods of `bertwire.v1.Classifier` that list models."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    async def ListModels(self, request: pb.ListModelsRequest, context: Context) -> pb.ListModelsResponse:  # noqa: N802, ARG002
        """Return all models."""
        return pb.ListModelsResponse(models=map(model_message, self._catalog.entries()))

    async def GetModel(self, request: pb.GetModelRequest, context: Context) -> pb.Model:  # noqa: N802, ARG002
        """Return one model."""
        return model_message(find(self._catalog, request.model, request.model_version))


def find(catalog: Catalog, name: str, version: str) -> Entry:
    """Return the entry of a name and a version or alias, in any state.

    Raises:
        ModelNotFound: there is none.
        NotReady: several versions match, and none is ready.
    """
    entries = catalog.entries()
    try:
        with catalog.lease(name, version) as model:
            return next(each for each in entries if each.model is model)
    except (ModelNotFound, NotReady):
        meant = catalog.resolve(name, version)
        named = [each for each in entries if each.name == name and meant in ("", each.version)]
        if len(named) == 1:
            return named[0]
        raise


def model_message(entry: Entry) -> pb.Model:
    """Return an entry as a message."""
    message = pb.Model(
        name=entry.name,
        version=entry.version,
        aliases=entry.aliases,
        default=entry.default,
        state=f"MODEL_STATE_{entry.state}",
        reason=entry.reason,
    )
    if entry.model is not None:
        manifest, engine = entry.model.manifest, entry.model.engine
        message.task, message.text_pairs, message.max_length = manifest.task, manifest.text_pairs, manifest.most_tokens
        message.labels.extend(manifest.labels)
        message.rules.extend(manifest.rules.names if manifest.rules else ())
        message.variant, message.precision = engine.variant.name, engine.variant.precision
        message.provider, message.proven, message.fallback_reason = engine.provider, engine.proven, engine.passed_over
        message.dimensions = manifest.embedding.dimensions if manifest.embedding else 0
        message.abstains = manifest.abstention is not None
        message.quality.update(_quality(engine.variant, engine.provider))
    return message


def _quality(variant: Variant, provider: str) -> Scores:
    """Return the scores on the test texts, which no choice was based on; without those on dev."""
    proof = next(each for each in variant.proofs if each.provider == provider)
    return (proof.test or proof.dev).scores
