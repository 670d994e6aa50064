"""The small parts of the server: scores, tokenizer, responses."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from bertwire.v1.classifier_pb2 import ClassifyRequest, ClassifyResponse
from bertwire_core.errors import UserError
from bertwire_runtime.bundle import open_bundle
from bertwire_runtime.output import Output
from bertwire_runtime.tokenizer import TextTokenizer
from bertwire_server.call import Call, current
from bertwire_server.errors import InvalidRequest
from bertwire_server.listen import bind
from bertwire_server.protocols.messages import response
from bertwire_server.protocols.streams import StreamLimits, counted, in_order
from bertwire_server.query import Prediction
from bertwire_server.status import public
from bertwire_server.telemetry.metrics import Metrics


@pytest.mark.parametrize(("side", "kept"), [("right", [2, 6, 7, 3]), ("left", [2, 8, 9, 3])])
def test_truncates_on_its_side(bundle: Path, side: str, kept: list[int]) -> None:
    """Long text loses its end or its start, keeps its special tokens, and says so."""
    tokenizer = TextTokenizer((bundle / "tokenizer.json").read_bytes(), 4, side)  # type: ignore[arg-type]
    long, short = tokenizer.encode(["w1 w2 w3 w4", "w1 w2"])
    assert (long.ids, long.truncated) == (kept, True)
    assert (short.ids, short.truncated) == ([2, 6, 7, 3], False)


def test_refuses_what_is_no_tokenizer() -> None:
    """Bytes that are no tokenizer raise ValueError."""
    with pytest.raises(ValueError, match="not a tokenizer"):
        TextTokenizer(b"{}", 8, "right")


def test_panic_of_the_tokenizer_is_an_error(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library's panics are no exceptions, and would end the task that a stream waits for."""

    class Panic(BaseException):
        """One of them."""

    def panic(*_: object) -> None:
        raise Panic("out of bounds")

    tokenizer = TextTokenizer((bundle / "tokenizer.json").read_bytes(), 4, "right")
    monkeypatch.setattr(tokenizer, "_encode", panic)
    with pytest.raises(RuntimeError, match="the tokenizer failed: out of bounds"):
        tokenizer.encode(["w1"])


def test_port_that_grpc_cannot_open() -> None:
    """Though a socket can: gRPC says so by an exception of its own."""

    class Server:
        def add_insecure_port(self, _: str) -> int:
            raise RuntimeError

    server: Any = Server()
    with pytest.raises(UserError, match=r"^cannot listen on 127\.0\.0\.1:0: gRPC cannot open it"):
        bind(server, "127.0.0.1", 0, None)


def test_only_methods_that_are_not_there_are_unimplemented(caplog: pytest.LogCaptureFixture) -> None:
    """Another `NotImplementedError` is a fault, which the log has."""
    assert public(NotImplementedError("Method not implemented!"), "/m").code is grpc.StatusCode.UNIMPLEMENTED
    assert not caplog.records
    assert public(NotImplementedError("no sparse tensors"), "/m").code is grpc.StatusCode.INTERNAL
    assert "no sparse tensors" in caplog.text


async def test_large_response_leaves_others_their_turn(bundle: Path) -> None:
    """While the results of a large call are built, other calls go on."""
    logits = np.zeros(77, dtype=np.float32)
    predictions = [Prediction(Output(logits, logits, (), 3, truncated=False), 0, 0, 0)] * 1024
    manifest = open_bundle(bundle).manifest.model_copy(update={"labels": tuple(map(str, range(77)))})
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(count())
    built = await response(manifest, predictions, ClassifyRequest(logits=True))
    other.cancel()
    assert [len(result.labels) for result in built.results] == [77] * 1024
    assert turns > 20


async def test_messages_of_a_stream_count_for_their_own_model() -> None:
    """Each message is one call of the model that it asked, with its own status, whatever runs beside it."""
    ended: list[tuple[str, str]] = []

    class Counts(Metrics):
        def call_ended(self, call: Call, code: grpc.StatusCode, seconds: float) -> None:  # noqa: ARG002
            ended.append((call.model, code.name))

    async def handle(name: str) -> ClassifyResponse:
        current.get().model = name
        await asyncio.sleep(0)
        if name == "c":
            raise InvalidRequest("no")
        return ClassifyResponse(model=name)

    async def requests() -> AsyncIterator[str]:
        for name in "abc":
            yield name

    current.set(Call("/stream"))
    with pytest.raises(InvalidRequest):
        assert [each async for each in in_order(requests(), counted(handle, Counts(), StreamLimits(3, 8192)), 3)] == []
    assert current.get().failures == {"INVALID_ARGUMENT": 1}
    assert sorted(ended) == [("a", "OK"), ("b", "OK"), ("c", "INVALID_ARGUMENT")]


async def test_answer_of_a_stream_that_is_too_large_fails_alone() -> None:
    """Where it is sent the whole stream would end."""

    async def handle(count: int) -> ClassifyResponse:
        return ClassifyResponse(model="x" * count)

    current.set(Call("/stream"))
    answer = counted(handle, Metrics(), StreamLimits(1, 8192))
    assert (await answer(4000)).model == "x" * 4000
    with pytest.raises(InvalidRequest, match=r"has 4103 bytes, and at most 4096 can be sent; send fewer texts"):
        await answer(4100)
