"""Streams of the Open Inference Protocol: order, bounds, failures."""

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from bertwire.oip.inference_pb2 import ModelInferRequest, ModelInferResponse, ModelStreamInferResponse
from bertwire_server.call import Call, current
from bertwire_server.errors import Overloaded
from bertwire_server.protocols.oip.infer import Inferrer
from bertwire_server.protocols.oip.stream import Streams
from bertwire_server.protocols.streams import StreamLimits
from turns import turns


class Held:
    """Stands for ModelInfer: answers a request when told to, or fails as told; knows who has begun."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.codes: list[str] = []
        self.metrics: Any = SimpleNamespace(call_ended=lambda _, code, __: self.codes.append(code.name))
        self.answers: dict[str, asyncio.Future[None]] = {}

    async def infer(self, request: ModelInferRequest, until: float | None) -> ModelInferResponse:  # noqa: ARG002
        """Wait for `let`."""
        self.begun.append(request.id)
        await self.answers.setdefault(request.id, asyncio.get_running_loop().create_future())
        return ModelInferResponse(id=request.id)

    def let(self, number: int, error: Exception | None = None) -> None:
        """Let a request be answered, or fail."""
        future = self.answers.setdefault(str(number), asyncio.get_running_loop().create_future())
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)


async def requests(count: int) -> AsyncIterator[ModelInferRequest]:
    """Yield requests with the ids 0 to `count`."""
    for number in range(count):
        yield ModelInferRequest(id=str(number), model_name="m")


def stream(
    held: Held, count: int, limit: int = 100, metadata: tuple[tuple[str, str], ...] = ()
) -> AsyncIterator[ModelStreamInferResponse]:
    """Return the answers of a stream of `count` requests."""
    context: Any = SimpleNamespace(invocation_metadata=lambda: metadata, time_remaining=lambda: None)
    current.set(Call("ModelStreamInfer"))
    streams = Streams(cast(Inferrer, held), StreamLimits(limit, 1 << 20), held.metrics)
    return streams.infer(requests(count), context)


async def test_reads_no_more_than_it_may_hold() -> None:
    """Begin so many of many requests, count those that wait for their turn, and answer in the requests' order."""
    held = Held()
    for number in range(1, 50):
        held.let(number)
    answers = stream(held, 50, limit=4)
    first = asyncio.ensure_future(anext(answers))
    await turns()
    assert held.begun == ["0", "1", "2", "3"]
    held.let(0)
    assert (await first).infer_response.id == "0"
    rest = [each async for each in answers]
    assert [each.infer_response.id for each in rest] == [str(number) for number in range(1, 50)]
    assert all(each.infer_response.parameters["triton_final_response"].bool_param for each in rest)


async def test_failure_of_a_request_leaves_the_others_alone(caplog: pytest.LogCaptureFixture) -> None:
    """Name the cause with the request's id; log an unforeseen one instead."""
    held = Held()
    held.let(0, Overloaded("slow down"))
    held.let(1, ValueError("secret"))
    held.let(2)
    answers = [each async for each in stream(held, 3)]
    assert [(each.infer_response.id, each.error_message) for each in answers] == [
        ("0", "slow down"),
        ("1", "internal error; the server's log has the cause"),
        ("2", ""),
    ]
    assert answers[0].infer_response.model_name == "m"
    assert sorted(held.codes) == ["INTERNAL", "OK", "RESOURCE_EXHAUSTED"]
    assert "secret" in caplog.text


async def test_failure_as_status_where_the_client_asks_for_it() -> None:
    """End the stream with the failure, after the answers before it."""
    held = Held()
    held.let(0)
    held.let(1, Overloaded("slow down"))
    held.let(2)
    answers = stream(held, 3, metadata=(("triton_grpc_error", "true"),))
    assert (await anext(answers)).infer_response.id == "0"
    with pytest.raises(Overloaded, match="slow down"):
        await anext(answers)
