"""ModelStreamInfer: concurrent requests with answers in order, like Triton's for models that are not decoupled."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from functools import partial

from bertwire.oip.inference_pb2 import ModelInferRequest, ModelInferResponse, ModelStreamInferResponse
from bertwire_server.errors import RequestError
from bertwire_server.protocols.deadlines import deadline
from bertwire_server.protocols.oip.infer import Inferrer
from bertwire_server.protocols.streams import StreamLimits, counted, in_order
from bertwire_server.rpc import Context
from bertwire_server.telemetry.metrics import Metrics


class Streams:
    """Answers streams of requests."""

    def __init__(self, inferrer: Inferrer, limits: StreamLimits, metrics: Metrics) -> None:
        self._inferrer, self._limits, self._metrics = inferrer, limits, metrics

    async def infer(
        self, requests: AsyncIterator[ModelInferRequest], context: Context
    ) -> AsyncGenerator[ModelStreamInferResponse, None]:
        """Yield the answers of one stream.

        Raises:
            RequestError: a request failed, and the client asked for errors as gRPC statuses.
        """
        until = deadline(context)
        as_status = ("triton_grpc_error", "true") in (context.invocation_metadata() or ())

        infer = counted(partial(self._inferrer.infer, until=until), self._metrics, self._limits)

        async def handle(request: ModelInferRequest) -> ModelStreamInferResponse:
            try:
                return _answer(await infer(request))
            except RequestError as error:
                if as_status:
                    raise
                return _failure(request, str(error))

        async with aclosing(in_order(requests, handle, self._limits.requests)) as answered:
            async for answer in answered:
                yield answer


def _answer(response: ModelInferResponse, error: str = "") -> ModelStreamInferResponse:
    # Every response is final, which clients of decoupled models check.
    response.parameters["triton_final_response"].bool_param = True
    return ModelStreamInferResponse(error_message=error, infer_response=response)


def _failure(request: ModelInferRequest, error: str) -> ModelStreamInferResponse:
    names = ModelInferResponse(id=request.id, model_name=request.model_name, model_version=request.model_version)
    return _answer(names, error)
