"""ModelStreamInfer: requests side by side, answers in their order, as Triton gives those of a model like ours."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from time import perf_counter
from typing import Any, TypeVar

import grpc
import grpc.aio

from bertwire.oip.inference_pb2 import ModelInferRequest, ModelInferResponse, ModelStreamInferResponse
from bertwire_server.call import current
from bertwire_server.errors import RequestError
from bertwire_server.protocols.messages import deadline
from bertwire_server.protocols.oip.infer import Inferrer
from bertwire_server.protocols.streams import answers
from bertwire_server.status import masked
from bertwire_server.telemetry.metrics import Metrics

Context = grpc.aio.ServicerContext[Any, Any]
Request = TypeVar("Request")
Response = TypeVar("Response")


class Streams:
    """Answers streams of requests."""

    def __init__(self, inferrer: Inferrer, max_requests: int, metrics: Metrics) -> None:
        """Needs nothing else.

        Args:
            inferrer: answers a request.
            max_requests: most unanswered requests of a stream.
            metrics: told of each request.
        """
        self._inferrer, self._max_requests, self._metrics = inferrer, max_requests, metrics

    async def infer(
        self, requests: AsyncIterator[ModelInferRequest], context: Context
    ) -> AsyncGenerator[ModelStreamInferResponse, None]:
        """Answers the requests of one stream.

        Raises:
            RequestError: a request failed, and the client asked to see that as a status.
        """
        until = deadline(context)
        as_status = ("triton_grpc_error", "true") in (context.invocation_metadata() or ())

        async def handle(request: ModelInferRequest) -> ModelStreamInferResponse | RequestError:
            start, call = perf_counter(), current.get()
            try:
                answer = _answer(await self._inferrer.infer(request, until))
            except Exception as error:
                shown = masked(error, "ModelStreamInfer")
                self._metrics.call_ended(call, shown.code, perf_counter() - start)
                return shown if as_status else _failure(request, str(shown))
            self._metrics.call_ended(call, grpc.StatusCode.OK, perf_counter() - start)
            return answer

        async with aclosing(answers(requests, in_turn(handle), self._max_requests)) as answered:
            async for answer in answered:
                if isinstance(answer, RequestError):
                    raise answer
                yield answer


def in_turn(handle: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    """Of calls that run side by side each returns only after those that began before it; `handle` must not raise."""
    last: asyncio.Event | None = None

    async def call(request: Request) -> Response:
        nonlocal last
        before, last = last, asyncio.Event()
        done = last
        response = await handle(request)
        if before is not None:
            await before.wait()
        done.set()
        return response

    return call


def _answer(response: ModelInferResponse, error: str = "") -> ModelStreamInferResponse:
    # A request has one answer, so it is the final one too, which clients of models with several look for.
    response.parameters["triton_final_response"].bool_param = True
    return ModelStreamInferResponse(error_message=error, infer_response=response)


def _failure(request: ModelInferRequest, error: str) -> ModelStreamInferResponse:
    names = ModelInferResponse(id=request.id, model_name=request.model_name, model_version=request.model_version)
    return _answer(names, error)
