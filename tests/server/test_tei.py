"""text-embeddings-inference's clients against a real server process, and health beside them."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import grpc.aio
import numpy as np
import pytest
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from numpy.typing import NDArray

from bertwire.health import health_pb2, health_pb2_grpc
from bertwire.tei import tei_pb2 as pb
from bertwire.tei import tei_pb2_grpc as rpc
from bertwire.v1.classifier_pb2 import ClassifyRequest, Result
from bertwire.v1.classifier_pb2_grpc import ClassifierStub
from bertwire_runtime.bundle import open_bundle
from bertwire_runtime.output import Output
from bertwire_server.errors import ModelFailed, Overloaded, RequestError
from bertwire_server.protocols.streams import StreamLimits, in_order
from bertwire_server.protocols.tei import TeiPredict
from bertwire_server.query import Prediction
from bertwire_server.telemetry.metrics import Metrics
from support import LABELS, Edit, Serve, Server, random_texts, reseal

LONG = " ".join(["w1"] * 20 + ["w2"] * 20)
OTHERS = ("Embed/Embed", "Rerank/Rerank", "Tokenize/Tokenize")


@pytest.fixture
def channel(server: Server) -> Iterator[grpc.Channel]:
    """A channel to the shared server."""
    with grpc.insecure_channel(server.address) as channel:
        yield channel


def own(channel: grpc.Channel, **fields: Any) -> Result:  # noqa: ANN401 - any field of the request
    """What `bertwire.v1` answers to one text."""
    result: Result = ClassifierStub(channel).Classify(ClassifyRequest(logits=True, **fields), timeout=20).results[0]
    return result


def scores(response: pb.PredictResponse) -> dict[str, float]:
    """The scores by label, after a look at their order."""
    values = [each.score for each in response.predictions]
    assert values == sorted(values, reverse=True)
    return {each.label: each.score for each in response.predictions}


def by_label(logits: Any) -> dict[str, float]:  # noqa: ANN401 - any floats
    """Logits in the model's order, with their labels."""
    return dict(zip(LABELS, logits, strict=True))


def test_predict_is_classify(channel: grpc.Channel) -> None:
    """The scores are those of Classify, or its logits where raw ones are asked for; the metadata is of this text."""
    expected = own(channel, texts=["w1 w2 w3"])
    stub = rpc.PredictStub(channel)
    response = stub.Predict(pb.PredictRequest(inputs="w1 w2 w3"), timeout=20)
    assert scores(response) == pytest.approx({each.label: each.score for each in expected.labels}, abs=1e-5)
    raw = stub.Predict(pb.PredictRequest(inputs="w1 w2 w3", raw_scores=True), timeout=20)
    assert scores(raw) == pytest.approx(by_label(expected.logits), abs=1e-5)
    known = response.metadata
    assert (known.compute_chars, known.compute_tokens) == (8, 5)
    assert min(known.tokenization_time_ns, known.inference_time_ns) > 0
    assert known.total_time_ns >= known.tokenization_time_ns + known.queue_time_ns + known.inference_time_ns


def test_chars_are_code_points(channel: grpc.Channel) -> None:
    """An emoji of several code points counts as many, as in Rust's chars."""
    response = rpc.PredictStub(channel).Predict(pb.PredictRequest(inputs="w1 👩🏽‍🚀"), timeout=20)
    assert response.metadata.compute_chars == 3 + 4


@pytest.mark.parametrize(("direction", "side"), [("RIGHT", 2), ("LEFT", 1)])
def test_truncates_where_told(channel: grpc.Channel, direction: str, side: int) -> None:
    """`truncate` cuts the end, or the beginning where the direction says so."""
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
    """What cannot be answered is INVALID_ARGUMENT, over-long text too unless truncation was asked for."""
    with pytest.raises(grpc.RpcError, match=words) as caught:
        getattr(rpc.PredictStub(channel), method)(request_, timeout=20)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_a_pair_of_one_is_a_text(channel: grpc.Channel) -> None:
    """PredictPair takes a single text for a model of single texts."""
    stub = rpc.PredictStub(channel)
    single = stub.Predict(pb.PredictRequest(inputs="w5"), timeout=20)
    pair = stub.PredictPair(pb.PredictPairRequest(inputs=["w5"]), timeout=20)
    assert scores(pair) == pytest.approx(scores(single), abs=1e-5)


def test_info(channel: grpc.Channel, bundle: Path) -> None:
    """Info names the model and the limits that hold."""
    info = rpc.InfoStub(channel).Info(pb.InfoRequest(), timeout=20)
    variant = next(each for each in open_bundle(bundle).manifest.variants if each.name == "fp32-packed")
    assert (info.model_id, info.model_dtype, info.model_sha) == ("tiny", "float32", variant.file.sha256)
    assert info.model_type == pb.MODEL_TYPE_CLASSIFIER
    assert (info.max_input_length, info.max_client_batch_size, info.max_batch_requests) == (32, 1, 64)
    assert not info.HasField("sha")


@pytest.mark.parametrize("method", OTHERS)
def test_the_rest_is_unimplemented(channel: grpc.Channel, method: str) -> None:
    """The services of an embedder are not served, and gRPC says so."""
    call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(f"/tei.v1.{method}")
    with pytest.raises(grpc.RpcError) as caught:
        call(b"", timeout=20)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_stream_keeps_the_order(channel: grpc.Channel) -> None:
    """Thousands of requests on one stream are answered each in its place."""
    texts = random_texts(2000, seed=4)
    requests = (pb.PredictRequest(inputs=text, raw_scores=True) for text in texts)
    answers = [scores(each) for each in rpc.PredictStub(channel).PredictStream(requests, timeout=60)]
    together = ClassifierStub(channel).Classify(ClassifyRequest(texts=texts[:1000], logits=True), timeout=60).results
    assert len(answers) == 2000
    for found, expected in zip(answers, together, strict=False):
        assert found == pytest.approx(by_label(expected.logits), abs=1e-5)


def test_stream_ends_with_the_first_failure(channel: grpc.Channel) -> None:
    """What came before a bad request is answered, and the stream has its status; another stream is as good as new."""
    texts = ["w1"] * 5 + [""] + ["w1"] * 5
    stub = rpc.PredictStub(channel)
    stream = stub.PredictStream((pb.PredictRequest(inputs=each) for each in texts), timeout=20)
    assert [len(next(stream).predictions) for _ in range(5)] == [3] * 5
    with pytest.raises(grpc.RpcError, match="blank") as caught:
        next(stream)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert len(list(stub.PredictStream((pb.PredictRequest(inputs="w1") for _ in range(3)), timeout=20))) == 3


async def test_stream_answers_before_its_end(server: Server) -> None:
    """A client that waits for each answer before it sends on is served; malformed bytes then end the stream."""
    async with grpc.aio.insecure_channel(server.address) as channel:
        stream: Any = channel.stream_stream("/tei.v1.Predict/PredictPairStream")(timeout=20)
        for _ in range(3):
            await stream.write(pb.PredictPairRequest(inputs=["w1"]).SerializeToString())
            assert scores(pb.PredictResponse.FromString(await stream.read()))
        await stream.write(b"\xff" * 9)
        assert await stream.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "cannot be decoded" in await stream.details()


def resealed(bundle: Path, folder: Path, edit: Edit) -> Path:
    """A copy of a bundle that says something else of itself."""
    copy = Path(shutil.copytree(bundle, folder / "copy"))
    reseal(copy, edit)
    return copy


def test_several_labels_are_sigmoids(serve: Serve, bundle: Path, tmp_path: Path) -> None:
    """Where several labels may be right each has its own probability, not a share of one."""

    def edit(manifest: dict[str, Any]) -> None:
        manifest.update(task="multi_label")
        manifest["calibration"].update(thresholds=[0.5] * 3, temperature=1.0)

    with serve(resealed(bundle, tmp_path, edit)) as server, grpc.insecure_channel(server.address) as channel:
        logits = np.array(own(channel, texts=["w1 w2"]).logits)
        response = rpc.PredictStub(channel).Predict(pb.PredictRequest(inputs="w1 w2"), timeout=20)
    assert scores(response) == pytest.approx(by_label(1 / (1 + np.exp(-logits))), abs=1e-5)
    assert abs(sum(scores(response).values()) - 1) > 0.01


def test_pairs(serve: Serve, bundle: Path, tmp_path: Path) -> None:
    """A model of pairs takes two texts, also in a stream, and refuses one."""
    copy = resealed(bundle, tmp_path, lambda manifest: manifest.update(text_pairs=True))
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
        """The answer, for a model that is as required."""
        require(self._model.manifest)
        return SimpleNamespace(model=self._model, predictions=[self._prediction])


class NoDeadline:
    """Stands for the context of a call without a deadline."""

    def time_remaining(self) -> None:
        """None: for ever."""


async def test_regression_is_its_number() -> None:
    """A model of numbers gives the number, raw or not."""
    model = Fixed("regression", ["stars"], np.array([4.5], np.float32))
    predict = TeiPredict(model, StreamLimits(1, 1 << 20), Metrics())  # type: ignore[arg-type]
    for raw in (False, True):
        response = await predict.Predict(pb.PredictRequest(inputs="w1", raw_scores=raw), NoDeadline())  # type: ignore[arg-type]
        assert scores(response) == {"stars": 4.5}


async def test_tags_have_no_message() -> None:
    """A model of tags is not answered by a score that would mean something else."""
    model = Fixed("token_classification", ["O", "B-x"], np.zeros((3, 2), np.float32))
    predict = TeiPredict(model, StreamLimits(1, 1 << 20), Metrics())  # type: ignore[arg-type]
    with pytest.raises(RequestError, match=r"ask bertwire\.v1\.Classifier") as caught:
        await predict.Predict(pb.PredictRequest(inputs="w1"), NoDeadline())  # type: ignore[arg-type]
    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT


class Source:
    """Requests 0, 1, 2 ... without end, and how many have been read."""

    def __init__(self) -> None:
        self.read = 0

    async def __aiter__(self) -> AsyncIterator[int]:
        while True:
            self.read += 1
            yield self.read - 1


async def turns(count: int = 50) -> None:
    """Lets everything that can go on go on."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_window_bounds_what_is_read() -> None:
    """Of an endless stream whose answers nobody takes only as many requests are read as may be unanswered."""
    source = Source()

    async def answer(number: int) -> int:
        return number

    answers = in_order(aiter(source), answer, 4)
    assert [await anext(answers) for _ in range(3)] == [0, 1, 2]
    await turns()
    assert source.read == 4 + 2
    await answers.aclose()


async def test_window_cancels_what_is_behind_a_failure() -> None:
    """Answers under way behind a failure, or behind a client that has gone, are cancelled."""
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

    answers = in_order(aiter(Source()), answer, 5)
    assert await anext(answers) == 0
    with pytest.raises(ModelFailed):
        await anext(answers)
    await turns()
    assert cancelled == begun - {0, 1} != set()


async def test_window_answers_before_it_fails() -> None:
    """A fault of reading comes after the answers to what was read before it."""

    async def requests() -> AsyncIterator[int]:
        yield 0
        raise Overloaded("full")

    async def answer(number: int) -> int:
        await turns()
        return number

    answers = in_order(requests(), answer, 5)
    assert await anext(answers) == 0
    with pytest.raises(Overloaded):
        await anext(answers)


def test_health_and_reflection_know_the_services(channel: grpc.Channel) -> None:
    """Each service of tei.v1 has its health, and reflection describes it."""
    names = ("tei.v1.Predict", "tei.v1.Info")
    for name in names:
        reply = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=name), timeout=20)
        assert reply.status == health_pb2.HealthCheckResponse.SERVING
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    asked = [reflection_pb2.ServerReflectionRequest(file_containing_symbol=name) for name in names]
    for reply in stub.ServerReflectionInfo(iter(asked), timeout=20):
        assert b"tei.v1" in reply.file_descriptor_response.file_descriptor_proto[0]
