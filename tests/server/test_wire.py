"""A real server process, asked over gRPC as a client in any language would."""

import asyncio
import json
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import onnxruntime
import pytest
from google.protobuf.descriptor_database import DescriptorDatabase
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha import reflection_pb2
from numpy.typing import NDArray
from scipy.special import softmax
from tokenizers import Tokenizer

from bertwire.health import health_pb2, health_pb2_grpc
from bertwire.v1.classifier_pb2 import ClassifyRequest, ClassifyResponse
from bertwire.v1.classifier_pb2_grpc import ClassifierStub
from bertwire_client import Client
from bertwire_client.errors import InvalidArgumentError
from bertwire_core.errors import UserError
from bertwire_runtime.bundle import open_bundle
from bertwire_runtime.layouts import arrange, variant_layout
from bertwire_runtime.session import cuda_fault
from bertwire_server.app import serve as serve_bundle
from bertwire_server.config import ServerConfig
from services import METHODS
from support import LABELS, Edit, Serve, Server, bertwire, export_padded, random_texts, rehash, reseal

METHOD = "/bertwire.v1.Classifier/Classify"
SERVICE = "bertwire.v1.Classifier"
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.fixture
def channel(server: Server) -> Iterator[grpc.Channel]:
    """A channel to the shared server."""
    with grpc.insecure_channel(server.address) as channel:
        yield channel


def classify(channel: grpc.Channel, request: ClassifyRequest) -> ClassifyResponse:
    """One call with a deadline."""
    response: ClassifyResponse = ClassifierStub(channel).Classify(request, timeout=20)
    return response


@pytest.fixture(scope="module")
def padded(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny checkpoint's bundle as of a model whose structure export does not know: its graphs compute padding."""
    limits = {"int8_min_agreement": 0, "int8_max_drop": 1, "int8_max_batch_variance": 9}
    return export_padded(checkpoint, tmp_path_factory.mktemp("padded") / "tiny", **limits)


def offline_logits(bundle: Path, name: str, texts: list[str]) -> NDArray[np.float32]:
    """The logits of one batch of texts by ONNX Runtime alone, from the variant of a name."""
    manifest = open_bundle(bundle).manifest
    variant = next(each for each in manifest.variants if each.name == name)
    tokenizer = Tokenizer.from_file(str(bundle / "tokenizer.json"))
    tokenizer.enable_truncation(32)
    layout = variant_layout(manifest, variant)
    session = onnxruntime.InferenceSession(bundle / f"{name}.onnx", providers=["CPUExecutionProvider"])
    arrays = arrange(tokenizer.encode_batch(texts), layout)
    logits: NDArray[np.float32] = session.run(
        ["logits"], {each.name: arrays[each.name] for each in session.get_inputs()}
    )[0]
    return logits


def served_logits(response: ClassifyResponse) -> NDArray[np.float32]:
    """The logits of a response, float32 [texts, labels]."""
    return np.array([result.logits for result in response.results], dtype=np.float32)


@pytest.mark.parametrize(
    ("kind", "option", "name"),
    [
        ("bundle", "fp32", "fp32-packed"),
        ("bundle", "fp32-packed", "fp32-packed"),
        ("bundle", "int8", "int8-packed"),
        ("padded", "fp32", "fp32-padded"),
        ("padded", "int8-padded", "int8-padded"),
    ],
)
def test_answers_equal_offline(serve: Serve, request: pytest.FixtureRequest, kind: str, option: str, name: str) -> None:
    """Over gRPC come the logits that ONNX Runtime gives offline, and their softmax at the bundle's temperature."""
    bundle: Path = request.getfixturevalue(kind)
    texts = random_texts(24, seed=3)
    expected = offline_logits(bundle, name, texts)
    with serve(bundle, "--variant", option) as server, grpc.insecure_channel(server.address) as channel:
        response = classify(channel, ClassifyRequest(texts=texts, logits=True))
    np.testing.assert_allclose(served_logits(response), expected, atol=1e-5)
    temperature = open_bundle(bundle).manifest.calibration.temperature
    assert abs(temperature - 1) > 0.1
    for result, scores in zip(response.results, softmax(expected / temperature, axis=1), strict=True):
        assert [each.label for each in result.labels] == [LABELS[index] for index in np.argsort(-scores)]
        np.testing.assert_allclose([each.score for each in result.labels], np.sort(scores)[::-1], atol=1e-5)


def test_int8_answers_do_not_depend_on_company(serve: Serve, bundle: Path) -> None:
    """A text's int8 logits are the same to the last bit alone, among 63 others in a call, and among 63 other calls."""
    texts = random_texts(64, seed=9)
    with (
        serve(bundle, "--variant", "int8") as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        stub = ClassifierStub(channel)
        requests = [ClassifyRequest(texts=[text], logits=True) for text in texts]
        alone = np.concatenate([served_logits(classify(channel, each)) for each in requests])
        together = served_logits(classify(channel, ClassifyRequest(texts=texts, logits=True)))
        calls = [stub.Classify.future(each, timeout=20) for each in requests]
        at_once = np.concatenate([served_logits(call.result()) for call in calls])
    np.testing.assert_array_equal(together, alone)
    np.testing.assert_array_equal(at_once, alone)


def test_answer_carries_what_it_should(channel: grpc.Channel) -> None:
    """Model, version, token count, truncation and timing come with each text; top_k cuts, logits stay home."""
    response = classify(channel, ClassifyRequest(texts=["w1 w2", "w3 " * 50], top_k=1))
    assert (response.model, response.model_version) == ("tiny", "1")
    short, long = response.results
    assert (short.token_count, short.truncated) == (4, False)
    assert (long.token_count, long.truncated) == (32, True)
    assert [len(short.labels), len(short.logits)] == [1, 0]
    assert min(short.timing.tokenize_us, short.timing.run_us) > 0
    assert short.timing.queue_us >= 0


def test_calls_share_batches(channel: grpc.Channel) -> None:
    """Many calls at once come back each with its own answer."""
    texts = random_texts(200, seed=5)
    together = [result.labels[0].score for result in classify(channel, ClassifyRequest(texts=texts)).results]
    stub = ClassifierStub(channel)
    calls = [stub.Classify.future(ClassifyRequest(texts=[text]), timeout=20) for text in texts]
    np.testing.assert_allclose([call.result().results[0].labels[0].score for call in calls], together, atol=1e-5)


@pytest.mark.parametrize(
    ("request_", "code", "words"),
    [
        (ClassifyRequest(), "INVALID_ARGUMENT", "send at least one text"),
        (ClassifyRequest(texts=["w1", ""]), "INVALID_ARGUMENT", r"texts\[1\] is blank"),
        (ClassifyRequest(texts=[" \t\n\u00a0\u3000"]), "INVALID_ARGUMENT", r"texts\[0\] is blank"),
        (ClassifyRequest(texts=["w" * 100_001]), "INVALID_ARGUMENT", "100001 characters; send at most 100000"),
        (ClassifyRequest(texts=["w1"] * 1025), "INVALID_ARGUMENT", "1025 texts in one call; send at most 1024"),
        (ClassifyRequest(texts=["w" * 60_000] * 20), "INVALID_ARGUMENT", "1200000 characters in one call"),
        (ClassifyRequest(texts=["w1"], top_k=0), "INVALID_ARGUMENT", "top_k is 0"),
        (ClassifyRequest(texts=["w1"], top_k=-7), "INVALID_ARGUMENT", "top_k is -7"),
        (ClassifyRequest(texts=["w1"], model="other"), "NOT_FOUND", "no model 'other' here; this server has 'tiny'"),
    ],
)
def test_refuses_bad_request(channel: grpc.Channel, request_: ClassifyRequest, code: str, words: str) -> None:
    """Each fault of a request has its status code and a message that says what to do."""
    with pytest.raises(grpc.RpcError, match=words) as caught:
        classify(channel, request_)
    assert caught.value.code().name == code


@pytest.mark.parametrize("content", [b"\x12\x02\xff\xfe", b"\x12\x05w1", b"\xff" * 40, b"\x08\x96\x01\x07"])
def test_refuses_malformed_message(channel: grpc.Channel, content: bytes) -> None:
    """Text that is not UTF-8, a cut message and random bytes are the caller's fault, not INTERNAL."""
    call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(METHOD)
    with pytest.raises(grpc.RpcError, match="cannot be decoded") as caught:
        call(content, timeout=20)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_health_by_service(channel: grpc.Channel) -> None:
    """The server and its service are SERVING; a service it has not got is NOT_FOUND."""
    stub = health_pb2_grpc.HealthStub(channel)
    for name in ("", SERVICE):
        assert stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=20).status == SERVING
    with pytest.raises(grpc.RpcError) as caught:
        stub.Check(health_pb2.HealthCheckRequest(service="other"), timeout=20)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_reflection_describes_every_service(channel: grpc.Channel, version: str) -> None:
    """Tools that know no proto find the services by either name of reflection, and of each its methods and messages."""
    database = DescriptorDatabase()

    def ask(**question: str) -> reflection_pb2.ServerReflectionResponse:
        # The messages of both versions have the same fields.
        method = channel.stream_stream(
            f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
            reflection_pb2.ServerReflectionRequest.SerializeToString,
            reflection_pb2.ServerReflectionResponse.FromString,
        )
        (answer,) = method(iter([reflection_pb2.ServerReflectionRequest(**question)]), timeout=20)
        return answer

    names = {each.name for each in ask(list_services="").list_services_response.service}
    assert names == {each.name.split("/")[1] for each in METHODS}
    for name in names:
        for file in ask(file_containing_symbol=name).file_descriptor_response.file_descriptor_proto:
            database.Add(FileDescriptorProto.FromString(file))
    pool = DescriptorPool(database)
    described = {f"/{name}/{each.name}" for name in names for each in pool.FindServiceByName(name).methods}
    assert described == {each.name for each in METHODS}


def test_queue_full_is_resource_exhausted(serve: Serve, bundle: Path) -> None:
    """A call that can never fit the queue is refused with the code for overload."""
    with (
        serve(bundle, "--max-queue-texts", 4, "--max-texts", 4, "--max-batch-ms", 0.001) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        stub = ClassifierStub(channel)
        calls = [stub.Classify.future(ClassifyRequest(texts=["w1"] * 4), timeout=20) for _ in range(100)]
        codes = {call.code() for call in calls}
    assert codes == {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}


async def test_burst_is_answered_or_refused_by_the_queue(server: Server) -> None:
    """Of thousands of calls at once each is answered, or refused with the code for overload; none is cancelled."""
    async with grpc.aio.insecure_channel(server.address) as channel:
        stub = ClassifierStub(channel)
        calls = [stub.Classify(ClassifyRequest(texts=["w1"]), timeout=60) for _ in range(3000)]
        codes = {await call.code() for call in calls}
    assert codes <= {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}


async def test_hashes_beside_the_event_loop(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large bundle is verified in a thread, while signals are heard."""
    threads: list[threading.Thread] = []

    def refuse(*_: object) -> None:
        threads.append(threading.current_thread())
        raise UserError("not this one")

    monkeypatch.setattr("bertwire_server.repository.folder.open_bundle", refuse)
    with pytest.raises(UserError, match="not this one"):
        await serve_bundle(ServerConfig(bundle=bundle, port=0), print)
    assert threads[0] is not threading.main_thread()


async def test_fault_of_the_scheduler_turns_health(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing can be answered any more, calls are refused at once and health says NOT_SERVING."""
    ready: asyncio.Queue[str] = asyncio.Queue()
    running = asyncio.create_task(serve_bundle(ServerConfig(bundle=bundle, port=0), ready.put_nowait))
    address = (await ready.get()).rpartition(" ")[2]
    monkeypatch.setattr("bertwire_runtime.layouts.Layout.computed", None)
    async with grpc.aio.insecure_channel(address) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=SERVICE))
        assert (await watch.read()).status == SERVING
        for _ in range(2):
            call = ClassifierStub(channel).Classify(ClassifyRequest(texts=["w1"]), timeout=60)
            assert await call.code() is grpc.StatusCode.UNAVAILABLE
        assert (await watch.read()).status == NOT_SERVING
    running.cancel()
    await asyncio.wait([running])


def refusal(*arguments: object) -> str:
    """Runs `bertwire serve`, which must exit with 1 and one line on standard error."""
    done = subprocess.run(bertwire("serve", *arguments), capture_output=True, text=True, timeout=60, check=False)
    lines = done.stderr.strip().splitlines()
    assert (done.returncode, done.stdout, len(lines)) == (1, "", 1), done.stderr
    return lines[0]


def test_refuses_port_in_use(bundle: Path) -> None:
    """A port that another process listens on is named, instead of being shared silently."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"cannot listen on 127.0.0.1:{port}" in refusal(bundle, "--port", port)


def test_refuses_second_server_on_its_port(server: Server, bundle: Path) -> None:
    """Two servers never share a port."""
    port = server.address.rpartition(":")[2]
    assert "cannot listen on" in refusal(bundle, "--port", port)


def test_refuses_bad_bundle(bundle: Path, tmp_path: Path) -> None:
    """A bundle that is none, a variant it has not got and a provider it was not proven on each get one line."""
    assert "no such bundle" in refusal(tmp_path / "none")
    assert "no variant fp64 for cpu; it has" in refusal(bundle, "--variant", "fp64", "--port", 0)
    assert "no variant for cuda; it has" in refusal(bundle, "--provider", "cuda", "--port", 0)


@pytest.mark.skipif(cuda_fault() is None, reason="CUDA is here")
def test_refuses_cuda_that_is_not_here(bundle: Path, tmp_path: Path, serve: Serve) -> None:
    """A bundle that was proven on CUDA too is not quietly run on the CPU by a server that was told cuda."""
    copy = Path(shutil.copytree(bundle, tmp_path / "copy"))

    def add_cuda(manifest: dict[str, Any]) -> None:
        for each in manifest["variants"]:
            each["providers"].append("cuda")
            each["proofs"].append(each["proofs"][0] | {"provider": "cuda"})

    reseal(copy, add_cuda)
    assert "ONNX Runtime cannot use cuda here" in refusal(copy, "--provider", "cuda", "--port", 0)
    with serve(copy) as server, grpc.insecure_channel(server.address) as channel:
        classify(channel, ClassifyRequest(texts=["w1"]))


def each_variant(**fields: object) -> Edit:
    """An edit that gives every variant these fields."""
    return lambda manifest: [each.update(fields) for each in manifest["variants"]]


@pytest.mark.parametrize(
    ("kind", "edit", "reason"),
    [
        ("bundle", lambda manifest: manifest["labels"].append("fourth"), "shape (3,), not 1 of (4,)"),
        ("bundle", lambda manifest: manifest.update(max_length=1000), "fails on texts of 1000 tokens"),
        ("padded", lambda manifest: manifest.update(max_length=1000), "fails on texts of 1000 tokens"),
        ("padded", lambda manifest: manifest.update(pad_token_id=10_000), "fails on the bundle's probe"),
        ("bundle", each_variant(layout="padded", groups=0), "reads position_ids, which its layout does not have"),
        ("padded", each_variant(layout="packed", groups=6), "reads attention_mask, which its layout does not have"),
        ("bundle", each_variant(groups=3), "reads group_3_tokens, which its layout does not have"),
        ("bundle", each_variant(groups=7), "fails on the bundle's probe"),
    ],
)
def test_refuses_bundle_that_could_not_answer(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str, edit: Edit, reason: str
) -> None:
    """A resealed bundle whose graph does not fit its manifest is refused before the server says SERVING."""
    copy = Path(shutil.copytree(request.getfixturevalue(kind), tmp_path / "copy"))
    reseal(copy, edit)
    assert reason in refusal(copy, "--port", 0)


def edit_tokenizer(bundle: Path, copy: Path, edit: Edit) -> Path:
    """A copy of a bundle with another tokenizer, consistently sealed."""
    shutil.copytree(bundle, copy)
    tokenizer = json.loads((copy / "tokenizer.json").read_text())
    edit(tokenizer)
    (copy / "tokenizer.json").write_text(json.dumps(tokenizer))
    rehash(copy)
    return copy


def _other_segment(tokenizer: dict[str, Any]) -> None:
    tokenizer["post_processor"]["single"][0]["SpecialToken"]["type_id"] = 9


def _other_token(tokenizer: dict[str, Any]) -> None:
    for special in tokenizer["post_processor"]["special_tokens"].values():
        special["ids"] = [999_999]


def _longer(tokenizer: dict[str, Any]) -> None:
    tokenizer["post_processor"]["single"] *= 20


@pytest.mark.parametrize("edit", [_other_segment, _other_token, _longer])
def test_refuses_tokenizer_that_does_not_fit(bundle: Path, tmp_path: Path, edit: Edit) -> None:
    """A resealed tokenizer whose tokens the graph cannot read is refused at warm-up, not with every request."""
    copy = edit_tokenizer(bundle, tmp_path / "copy", edit)
    assert "the bundle's tokenizer" in refusal(copy, "--port", 0)


def test_text_without_tokens_is_refused(serve: Serve, bundle: Path, tmp_path: Path) -> None:
    """Where a tokenizer adds nothing, a text of nothing it knows is refused, and no other's answer is given for it."""
    bare = edit_tokenizer(bundle, tmp_path / "copy", lambda tokenizer: tokenizer.update(post_processor=None))
    with serve(bare) as running, Client(running.address) as client:
        alone = client.classify(["w1 w2"], logits=True).results[0].logits
        with pytest.raises(InvalidArgumentError, match=r"texts\[0\] has no token"):
            client.classify(["\u200b", "w1 w2"])
        assert client.classify(["w1 w2"], logits=True).results[0].logits == alone


def test_refuses_queue_smaller_than_a_call(bundle: Path) -> None:
    """Limits under which a call could never be accepted are refused at the start."""
    assert "could never take a call of --max-texts 1024" in refusal(bundle, "--max-queue-texts", 10)


def test_leaves_nothing_at_home(serve: Serve, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No library writes an identifier or a database of its use into the home folder."""
    monkeypatch.setenv("HOME", str(tmp_path))
    with serve(bundle) as server, grpc.insecure_channel(server.address) as channel:
        classify(channel, ClassifyRequest(texts=["w1"]))
    assert list(tmp_path.iterdir()) == []


def test_imports_no_training_library(bundle: Path) -> None:
    """A server that has loaded its model has imported nothing that trains or exports, nor what a key needs."""
    script = (
        "import sys, pathlib; from bertwire_runtime.bundle import open_bundle;"
        "import bertwire_server.app, bertwire_server.cli; from bertwire_runtime.engine import choose_engine;"
        f"choose_engine(open_bundle(pathlib.Path({str(bundle)!r})), None, 'cpu', 1);"
        "others = ('torch', 'transformers', 'sklearn', 'onnx', 'bertwire_trainer');"
        "print([name for name in others if name in sys.modules])"
    )
    done = subprocess.run([bertwire()[0], "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
