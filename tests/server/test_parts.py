"""Small parts of the server: tokenizer, responses, statuses, messages of streams."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import grpc
import numpy as np
import pytest

from bertwire.v1.classifier_pb2 import ClassifyRequest, ClassifyResponse
from bertwire_core.errors import UserError
from bertwire_runtime.bundle import open_bundle
from bertwire_runtime.output import Output
from bertwire_runtime.thresholds import MODELS_OWN
from bertwire_runtime.tokenizer import TextTokenizer
from bertwire_server.call import Call, current
from bertwire_server.errors import InvalidRequest
from bertwire_server.listen import bind
from bertwire_server.protocols.messages import response
from bertwire_server.protocols.streams import StreamLimits, counted, in_order
from bertwire_server.query import Prediction
from bertwire_server.status import public
from bertwire_server.telemetry.metrics import Metrics
from turns import turns_during


class Panic(BaseException):
    """What a panic of the library raises, which is no Exception."""


@pytest.mark.parametrize("words", [False, True])
def test_failures_of_the_tokenizer(monkeypatch: pytest.MonkeyPatch, words: bool) -> None:
    """Raise ValueError for bytes that are no tokenizer, and RuntimeError for a panic, which would end the caller."""
    with pytest.raises(ValueError, match="not a tokenizer"):
        TextTokenizer(b"{}", 8, "right")
    library = Mock()
    library.from_buffer.return_value.get_vocab.return_value = {"w1": 0}
    for method in ("encode_batch", "encode_batch_fast"):
        getattr(library.from_buffer.return_value, method).side_effect = Panic("out of bounds")
    monkeypatch.setattr("bertwire_runtime.tokenizer.Tokenizer", library)
    with pytest.raises(RuntimeError, match="the tokenizer failed: out of bounds"):
        TextTokenizer(b"", 4, "right", words=words).encode(["w1"])


def test_port_that_grpc_cannot_open() -> None:
    """Raise UserError for gRPC's own exception, where a socket could be bound."""

    class Server:
        def add_insecure_port(self, _: str) -> int:
            raise RuntimeError

    server: Any = Server()
    with pytest.raises(UserError, match=r"^cannot listen on 127\.0\.0\.1:0: gRPC cannot open it"):
        bind(server, "127.0.0.1", 0, None)


def test_only_methods_that_are_not_there_are_unimplemented(caplog: pytest.LogCaptureFixture) -> None:
    """Take another `NotImplementedError` for a fault, and log it."""
    assert public(NotImplementedError("Method not implemented!"), "/m").code is grpc.StatusCode.UNIMPLEMENTED
    assert not caplog.records
    assert public(NotImplementedError("no sparse tensors"), "/m").code is grpc.StatusCode.INTERNAL
    assert "no sparse tensors" in caplog.text


async def test_large_response_leaves_others_their_turn(bundle: Path) -> None:
    """Yield to other calls while the results of a large call are built."""
    logits = np.zeros(77, dtype=np.float32)
    predictions = [Prediction(Output(logits, logits, (), 3, truncated=False), 0, 0, 0)] * 1024
    manifest = open_bundle(bundle).manifest.model_copy(update={"labels": tuple(map(str, range(77)))})
    built, turns = await turns_during(response(manifest, predictions, ClassifyRequest(logits=True), MODELS_OWN))
    assert [len(result.labels) for result in built.results] == [77] * 1024
    assert turns > 1


async def test_messages_of_a_stream_count_for_their_own_model() -> None:
    """Count each message as a call of the model that it asked, with its own status."""
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
    """Fail one answer that is too large to send, which would end the whole stream."""

    async def handle(count: int) -> ClassifyResponse:
        return ClassifyResponse(model="x" * count)

    current.set(Call("/stream"))
    answer = counted(handle, Metrics(), StreamLimits(1, 8192))
    assert (await answer(4000)).model == "x" * 4000
    with pytest.raises(InvalidRequest, match=r"has 4103 bytes, and at most 4096 can be sent; send fewer texts"):
        await answer(4100)
