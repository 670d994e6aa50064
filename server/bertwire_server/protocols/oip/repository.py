"""The calls on models of the Open Inference Protocol, which MLServer has in a service of their own."""

from bertwire.oip import inference_pb2 as pb
from bertwire_server.errors import InvalidRequest
from bertwire_server.protocols.catalog import Catalog, ModelLoader
from bertwire_server.repository.entry import Entry
from bertwire_server.rpc import Context


class RepositoryCalls:
    """The methods of `inference.model_repository.ModelRepositoryService`, and those of the same names in OIP."""

    def __init__(self, catalog: Catalog, loader: ModelLoader) -> None:
        self._catalog, self._loader = catalog, loader

    async def RepositoryIndex(self, request: pb.RepositoryIndexRequest, context: Context) -> pb.RepositoryIndexResponse:  # noqa: N802, ARG002
        """Return every version of every model."""
        _require_the_repository(request.repository_name)
        entries = self.ready() if request.ready else self._catalog.entries()
        index = pb.RepositoryIndexResponse.ModelIndex
        return pb.RepositoryIndexResponse(
            models=[index(name=e.name, version=e.version, state=e.state, reason=e.reason) for e in entries]
        )

    async def RepositoryModelLoad(  # noqa: N802
        self,
        request: pb.RepositoryModelLoadRequest,
        context: Context,  # noqa: ARG002
    ) -> pb.RepositoryModelLoadResponse:
        """Load a model, or its new versions."""
        if request.parameters:
            raise InvalidRequest("a model is loaded as the repository has it; send no parameters")
        name = _model_name(request)
        await self._loader.load(name)
        return pb.RepositoryModelLoadResponse(model_name=name, is_loaded=True)

    async def RepositoryModelUnload(  # noqa: N802
        self,
        request: pb.RepositoryModelUnloadRequest,
        context: Context,  # noqa: ARG002
    ) -> pb.RepositoryModelUnloadResponse:
        """Unload a model. Models have no dependents, so parameters about them are ignored."""
        name = _model_name(request)
        await self._loader.unload(name)
        return pb.RepositoryModelUnloadResponse(model_name=name, is_unloaded=True)

    def ready(self) -> list[Entry]:
        """Return the versions that are served."""
        return [each for each in self._catalog.entries() if each.state == "READY"]


def _model_name(request: pb.RepositoryModelLoadRequest | pb.RepositoryModelUnloadRequest) -> str:
    """Return the model's name from either Triton's or KServe's field."""
    if request.model_name:
        _require_the_repository(request.repository_name)
        return request.model_name
    if not request.repository_name:
        raise InvalidRequest("model_name is empty; name a model")
    return request.repository_name


def _require_the_repository(name: str) -> None:
    if name:
        raise InvalidRequest(f"no repository {name[:64]!r} here; leave repository_name empty")
