"""text-embeddings-inference's protocol, as a real server process speaks it."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import grpc.aio
import numpy as np
import pytest
from numpy.typing import NDArray

from bertwire.tei import tei_pb2 as pb
from bertwire.tei import tei_pb2_grpc as rpc
from bertwire.v1.classifier_pb2 import ClassifyRequest, Result
from bertwire.v1.classifier_pb2_grpc import ClassifierStub
from bertwire_runtime.bundle import open_bundle
from bertwire_runtime.output import Output
from bertwire_server.errors import InvalidRequest, ModelFailed
from bertwire_server.protocols.streams import StreamLimits, in_order
from bertwire_server.protocols.tei import TeiPredict
from bertwire_server.query import Prediction
from bertwire_server.telemetry.metrics import Metrics
from support import LABELS, Serve, Server, random_texts, reseal
from turns import turns

LONG = " ".join(["w1"] * 20 + ["w2"] * 20)


def own(channel: grpc.Channel, **fields: Any) -> Result:  # noqa: ANN401 - any field of the request
    """Return what `bertwire.v1` answers to one text."""
    result: Result = ClassifierStub(channel).Classify(ClassifyRequest(logits=True, **fields), timeout=20).results[0]
    return result


def scores(response: pb.PredictResponse) -> dict[str, float]:
    """Return the scores by label, which must be sorted."""
    values = [each.score for each in response.predictions]
    assert values == sorted(values, reverse=True)
    return {each.label: each.score for each in response.predictions}


def by_label(logits: Any) -> dict[str, float]:  # noqa: ANN401 - any floats
    """Return logits with their labels."""
    return dict(zip(LABELS, logits, strict=True))


def test_predict_is_classify(channel: grpc.Channel) -> None:
    """Answer with the scores of Classify, or its logits, for Predict and a pair of one; count code points as chars."""
    text = "w1 w2 👩🏽‍🚀"
    expected = own(channel, texts=[text])
    stub = rpc.PredictStub(channel)
    response = stub.Predict(pb.PredictRequest(inputs=text), timeout=20)
    assert scores(response) == pytest.approx({each.label: each.score for each in expected.labels}, abs=1e-5)
    raw = stub.PredictPair(pb.PredictPairRequest(inputs=[text], raw_scores=True), timeout=20)
    assert scores(raw) == pytest.approx(by_label(expected.logits), abs=1e-5)
    known = response.metadata
    assert (known.compute_chars, known.compute_tokens) == (6 + 4, expected.token_count)
    assert min(known.tokenization_time_ns, known.inference_time_ns) > 0
    assert known.total_time_ns >= known.tokenization_time_ns + known.queue_time_ns + known.inference_time_ns


@pytest.mark.parametrize(("direction", "side"), [("RIGHT", 2), ("LEFT", 1)])
def test_truncates_where_told(channel: grpc.Channel, direction: str, side: int) -> None:
    """Cut the end, or the beginning where the direction says so."""
    request = pb.PredictRequest(
        inputs=LONG, truncate=True, raw_scores=True, truncation_direction=f"TRUNCATION_DIRECTION_{direction}"
    )
    response = rpc.PredictStub(channel).Predict(request, timeout=20)
    assert response.metadata.compute_tokens == 32
    cut = own(channel, texts=[LONG], truncation=side)
    assert scores(response) == pytest.approx(by_label(cut.logits), abs=1e-5)


@pytest.mark.parametrize(
    ("method", "request_", "words"),
    [
        ("Predict", pb.PredictRequest(inputs=LONG), "more than the 32 tokens"),
        ("Predict", pb.PredictRequest(), "blank"),
        ("Predict", pb.PredictRequest(inputs="w1", truncation_direction=7), "truncation_direction is 7"),  # type: ignore[arg-type]
        ("PredictPair", pb.PredictPairRequest(), "inputs has 0 texts; send one, or two"),
        ("PredictPair", pb.PredictPairRequest(inputs=["w1"] * 3), "inputs has 3 texts"),
        ("PredictPair", pb.PredictPairRequest(inputs=["w1", "w2"]), "send no second text"),
    ],
)
def test_refuses(channel: grpc.Channel, method: str, request_: object, words: str) -> None:
    """Answer INVALID_ARGUMENT, to over-long text too unless truncation is asked for."""
    with pytest.raises(grpc.RpcError, match=words) as caught:
        getattr(rpc.PredictStub(channel), method)(request_, timeout=20)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_info(channel: grpc.Channel, bundle: Path) -> None:
    """Describe the model and the limits that hold."""
    info = rpc.InfoStub(channel).Info(pb.InfoRequest(), timeout=20)
    variant = next(each for each in open_bundle(bundle).manifest.variants if each.name == "fp32-packed")
    assert (info.model_id, info.model_dtype, info.model_sha) == ("tiny", "float32", variant.file.sha256)
    assert info.model_type == pb.MODEL_TYPE_CLASSIFIER
    assert (info.max_input_length, info.max_client_batch_size, info.max_batch_requests) == (32, 1, 64)
    assert not info.HasField("sha")


def test_stream_keeps_the_order(channel: grpc.Channel) -> None:
    """Answer thousands of requests on one stream each in its place."""
    texts = random_texts(2000, seed=4)
    requests = (pb.PredictRequest(inputs=text, raw_scores=True) for text in texts)
    answers = [scores(each) for each in rpc.PredictStub(channel).PredictStream(requests, timeout=60)]
    together = ClassifierStub(channel).Classify(ClassifyRequest(texts=texts[:1000], logits=True), timeout=60).results
    assert len(answers) == 2000
    for found, expected in zip(answers, together, strict=False):
        assert found == pytest.approx(by_label(expected.logits), abs=1e-5)


def test_stream_ends_with_the_first_failure(channel: grpc.Channel) -> None:
    """Answer what came before a bad request, end the stream with its status, and serve another."""
    texts = ["w1"] * 5 + [""] + ["w1"] * 5
    stub = rpc.PredictStub(channel)
    stream = stub.PredictStream((pb.PredictRequest(inputs=each) for each in texts), timeout=20)
    assert [len(next(stream).predictions) for _ in range(5)] == [3] * 5
    with pytest.raises(grpc.RpcError, match="blank") as caught:
        next(stream)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert len(list(stub.PredictStream((pb.PredictRequest(inputs="w1") for _ in range(3)), timeout=20))) == 3


async def test_stream_answers_before_its_end(server: Server) -> None:
    """Answer a client that waits for each answer; end the stream at malformed bytes."""
    async with grpc.aio.insecure_channel(server.address) as channel:
        stream: Any = channel.stream_stream("/tei.v1.Predict/PredictPairStream")(timeout=20)
        for _ in range(3):
            await stream.write(pb.PredictPairRequest(inputs=["w1"]).SerializeToString())
            assert scores(pb.PredictResponse.FromString(await stream.read()))
        await stream.write(b"\xff" * 9)
        assert await stream.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "cannot be decoded" in await stream.details()


def test_pairs(serve: Serve, bundle: Path, tmp_path: Path) -> None:
    """Answer two texts for a model of pairs, also in a stream, and refuse one."""
    copy = Path(shutil.copytree(bundle, tmp_path / "copy"))
    reseal(copy, lambda manifest: manifest.update(text_pairs=True))
    with serve(copy) as server, grpc.insecure_channel(server.address) as channel:
        expected = own(channel, texts=["w1 w2"], text_pairs=["w3"])
        stub = rpc.PredictStub(channel)
        request = pb.PredictPairRequest(inputs=["w1 w2", "w3"], raw_scores=True)
        (response,) = stub.PredictPairStream(iter([request]), timeout=20)
        assert scores(response) == pytest.approx(by_label(expected.logits), abs=1e-5)
        assert (response.metadata.compute_chars, response.metadata.compute_tokens) == (7, 6)
        with pytest.raises(grpc.RpcError, match="pairs of texts") as caught:
            stub.Predict(pb.PredictRequest(inputs="w1"), timeout=20)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


class Fixed:
    """Stands for the inference: one answer, of a model of any task."""

    def __init__(self, task: str, labels: list[str], values: NDArray[np.float32]) -> None:
        self._model = SimpleNamespace(manifest=SimpleNamespace(task=task, labels=labels))
        self._prediction = Prediction(Output(values, values, (), 3, truncated=False), 0.0, 0.0, 0.0)

    async def predict(self, _: object, require: Callable[[Any], None]) -> SimpleNamespace:
        """Return the answer, for a model that is as required."""
        require(self._model.manifest)
        return SimpleNamespace(model=self._model, predictions=[self._prediction])


class NoDeadline:
    """Stands for the context of a call without a deadline."""

    def time_remaining(self) -> None:
        """Return None."""


async def test_tasks_without_labels() -> None:
    """Answer with the number of a regression, raw or not; refuse a model of tags, which has no message."""
    for raw in (False, True):
        model = Fixed("regression", ["stars"], np.array([4.5], np.float32))
        predict = TeiPredict(model, StreamLimits(1, 1 << 20), Metrics())  # type: ignore[arg-type]
        response = await predict.Predict(pb.PredictRequest(inputs="w1", raw_scores=raw), NoDeadline())  # type: ignore[arg-type]
        assert scores(response) == {"stars": 4.5}
    tags = Fixed("token_classification", ["O", "B-x"], np.zeros((3, 2), np.float32))
    predict = TeiPredict(tags, StreamLimits(1, 1 << 20), Metrics())  # type: ignore[arg-type]
    with pytest.raises(InvalidRequest, match=r"ask bertwire\.v1\.Classifier"):
        await predict.Predict(pb.PredictRequest(inputs="w1"), NoDeadline())  # type: ignore[arg-type]


async def test_window_cancels_what_is_behind_a_failure() -> None:
    """Cancel the answers under way behind a failure."""

    async def requests() -> AsyncIterator[int]:
        for number in range(100):
            yield number

    begun: set[int] = set()
    cancelled: set[int] = set()

    async def answer(number: int) -> int:
        begun.add(number)
        try:
            if number == 1:
                raise ModelFailed("no")
            if number > 1:
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.add(number)
            raise
        return number

    answers = in_order(requests(), answer, 5)
    assert await anext(answers) == 0
    with pytest.raises(ModelFailed):
        await anext(answers)
    await turns()
    assert cancelled == begun - {0, 1} != set()
