"""The `bertwire.v1.ModelRepository` service, specified in `repository.proto`."""

from bertwire.v1 import repository_pb2 as pb
from bertwire.v1.repository_pb2_grpc import ModelRepositoryServicer
from bertwire_server.errors import InvalidRequest
from bertwire_server.protocols.catalog import model_message
from bertwire_server.repository.fleet import Fleet
from bertwire_server.rpc import Context


class ModelRepository(ModelRepositoryServicer):
    """The service's methods. Operations finish even if the caller cancels."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    async def LoadModel(self, request: pb.LoadModelRequest, context: Context) -> pb.LoadModelResponse:  # noqa: N802, ARG002
        """Load versions of a model."""
        _require_name(request.model)
        entries = await self._fleet.load(request.model, request.model_version)
        return pb.LoadModelResponse(models=map(model_message, entries))

    async def UnloadModel(self, request: pb.UnloadModelRequest, context: Context) -> pb.UnloadModelResponse:  # noqa: N802, ARG002
        """Unload versions of a model."""
        _require_name(request.model)
        await self._fleet.unload(request.model, request.model_version)
        return pb.UnloadModelResponse()

    async def Reload(self, request: pb.ReloadRequest, context: Context) -> pb.ReloadResponse:  # noqa: N802, ARG002
        """Apply all changes of the repository."""
        return pb.ReloadResponse(models=map(model_message, await self._fleet.reload()))


def _require_name(model: str) -> None:
    if not model:
        raise InvalidRequest("model is empty; name a model")
