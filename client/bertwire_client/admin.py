"""Client for model administration."""

from typing import Any

from bertwire.v1.repository_pb2 import LoadModelRequest, ReloadRequest, UnloadModelRequest
from bertwire.v1.repository_pb2_grpc import ModelRepositoryStub
from bertwire_client.channel import is_balanced
from bertwire_client.client import Client
from bertwire_client.replies import ModelInfo
from bertwire_client.wire import parse_model
from bertwire_core.errors import UserError

# Seconds; loading verifies and warms up the model.
DEFAULT_LOAD_TIMEOUT = 300.0


class Admin(Client):
    """A client that can also load and unload models; where the server uses scopes, its key needs `admin`.

    Args:
        address: the server's `host:port`, or `unix:PATH`. One of several servers (`dns:`, `ipv4:`, `ipv6:`) raises
            `UserError`: a call would reach only one of them.
        timeout: deadline of a call in seconds.
        **connection: the other arguments of `Client`.
    """

    def __init__(self, address: str, *, timeout: float = DEFAULT_LOAD_TIMEOUT, **connection: Any) -> None:  # noqa: ANN401
        if is_balanced(address):
            raise UserError(f"{address!r} is for several servers; ask each by its own HOST:PORT or unix:PATH")
        super().__init__(address, timeout=timeout, **connection)
        self._repository = ModelRepositoryStub(self._authorized)

    def load(self, model: str, model_version: str = "") -> list[ModelInfo]:
        """Load the repository's versions of a model, all by default; return once they serve requests.

        Raises:
            NotFoundError: the repository has no such model.
            FailedPreconditionError: a bundle was refused; the versions already served stay.
            RequestError: the call failed otherwise.
        """
        request = LoadModelRequest(model=model, model_version=model_version)
        return [parse_model(each) for each in self._call(self._repository.LoadModel, request, None).models]

    def unload(self, model: str, model_version: str = "") -> None:
        """Unload a model, or one version of it; raise `RequestError` where that fails."""
        request = UnloadModelRequest(model=model, model_version=model_version)
        self._call(self._repository.UnloadModel, request, None)

    def reload(self) -> list[ModelInfo]:
        """Rescan the repository and return all models of the server; raise `RequestError` where that fails."""
        return [parse_model(each) for each in self._call(self._repository.Reload, ReloadRequest(), None).models]
