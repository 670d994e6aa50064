"""A real server process, asked over gRPC as a client in any language would."""

import asyncio
import json
import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf.descriptor_database import DescriptorDatabase
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha import reflection_pb2
from numpy.typing import NDArray
from scipy.special import softmax

from bertwire.health import health_pb2, health_pb2_grpc
from bertwire.v1.classifier_pb2 import ClassifyRequest, ClassifyResponse
from bertwire.v1.classifier_pb2_grpc import ClassifierStub
from bertwire_client import Client
from bertwire_client.errors import InvalidArgumentError
from bertwire_core.errors import UserError
from bertwire_runtime.session import cuda_fault
from bertwire_server.app import serve as serve_bundle
from bertwire_server.config import ServerConfig
from offline import Offline
from services import METHODS
from support import LABELS, Edit, Serve, Server, bertwire, export_padded, random_texts, rehash, reseal

SERVICE = "bertwire.v1.Classifier"
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


def classify(channel: grpc.Channel, request: ClassifyRequest) -> ClassifyResponse:
    """Make one call with a deadline."""
    response: ClassifyResponse = ClassifierStub(channel).Classify(request, timeout=20)
    return response


@pytest.fixture(scope="module")
def padded(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Export the tiny checkpoint with graphs that compute padding."""
    limits = {"int8_min_agreement": 0, "int8_max_drop": 1, "int8_max_batch_variance": 9}
    return export_padded(checkpoint, tmp_path_factory.mktemp("padded") / "tiny", **limits)


def served_logits(response: ClassifyResponse) -> NDArray[np.float32]:
    """Return the logits of a response, float32 [texts, labels]."""
    return np.array([result.logits for result in response.results], dtype=np.float32)


@pytest.mark.parametrize(
    ("kind", "option", "name"), [("bundle", "int8", "int8-packed"), ("padded", "int8-padded", "int8-padded")]
)
def test_answers_equal_offline(serve: Serve, request: pytest.FixtureRequest, kind: str, option: str, name: str) -> None:
    """Answer with the logits of ONNX Runtime alone, and their softmax at the bundle's temperature."""
    bundle: Path = request.getfixturevalue(kind)
    offline, texts = Offline(bundle, name), random_texts(24, seed=3)
    expected = offline.run(offline.encode(texts))
    with serve(bundle, "--variant", option) as server, grpc.insecure_channel(server.address) as channel:
        response = classify(channel, ClassifyRequest(texts=texts, logits=True))
    np.testing.assert_allclose(served_logits(response), expected, atol=1e-5)
    temperature = offline.manifest.calibration.temperature
    assert abs(temperature - 1) > 0.1
    for result, scores in zip(response.results, softmax(expected / temperature, axis=1), strict=True):
        assert [each.label for each in result.labels] == [LABELS[index] for index in np.argsort(-scores)]
        np.testing.assert_allclose([each.score for each in result.labels], np.sort(scores)[::-1], atol=1e-5)


def test_int8_answers_do_not_depend_on_company(serve: Serve, bundle: Path) -> None:
    """Answer with equal int8 logits alone, among 63 texts of a call, and among 63 calls."""
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
    """Answer with model, version, tokens, truncation and timing; cut at top_k, without logits."""
    response = classify(channel, ClassifyRequest(texts=["w1 w2", "w3 " * 50], top_k=1))
    assert (response.model, response.model_version) == ("tiny", "1")
    short, long = response.results
    assert (short.token_count, short.truncated) == (4, False)
    assert (long.token_count, long.truncated) == (32, True)
    assert [len(short.labels), len(short.logits)] == [1, 0]
    assert min(short.timing.tokenize_us, short.timing.run_us) > 0
    assert short.timing.queue_us >= 0


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
    """Answer each fault of a request with its status code and what to do."""
    with pytest.raises(grpc.RpcError, match=words) as caught:
        classify(channel, request_)
    assert caught.value.code().name == code


def test_health_by_service(channel: grpc.Channel) -> None:
    """Report SERVING for the server and each service that answers by models; NOT_FOUND for another name."""
    stub = health_pb2_grpc.HealthStub(channel)
    for name in {"", *(each.name.split("/")[1] for each in METHODS if not each.name.startswith("/grpc"))}:
        assert stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=20).status == SERVING
    with pytest.raises(grpc.RpcError) as caught:
        stub.Check(health_pb2.HealthCheckRequest(service="other"), timeout=20)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


OTHERS = ["tei.v1.Embed/EmbedAll", "tei.v1.Embed/EmbedSparse"]
OTHERS += [f"inference.GRPCInferenceService/{name}" for name in ("SystemSharedMemoryStatus", "TraceSetting")]


@pytest.mark.parametrize("method", OTHERS)
def test_other_methods_are_unimplemented(channel: grpc.Channel, method: str) -> None:
    """Refuse the methods of the protocols that no model has."""
    call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(f"/{method}")
    with pytest.raises(grpc.RpcError) as caught:
        call(b"", timeout=20)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_reflection_describes_every_service(channel: grpc.Channel, version: str) -> None:
    """Describe all methods and messages by either name of reflection."""
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
    """Answer RESOURCE_EXHAUSTED to calls that the queue has no room for."""
    with (
        serve(bundle, "--max-queue-texts", 4, "--max-texts", 4, "--max-batch-ms", 0.001) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        stub = ClassifierStub(channel)
        calls = [stub.Classify.future(ClassifyRequest(texts=["w1"] * 4), timeout=20) for _ in range(100)]
        codes = {call.code() for call in calls}
    assert codes == {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}


async def test_burst_is_answered_or_refused_by_the_queue(server: Server) -> None:
    """Answer or refuse, and never cancel, each of thousands of calls at once."""
    async with grpc.aio.insecure_channel(server.address) as channel:
        stub = ClassifierStub(channel)
        calls = [stub.Classify(ClassifyRequest(texts=["w1"]), timeout=60) for _ in range(3000)]
        codes = {await call.code() for call in calls}
    assert codes <= {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}


async def test_hashes_beside_the_event_loop(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Verify a bundle in a thread, while signals are handled."""
    threads: list[threading.Thread] = []

    def refuse(*_: object) -> None:
        threads.append(threading.current_thread())
        raise UserError("not this one")

    monkeypatch.setattr("bertwire_server.repository.folder.open_bundle", refuse)
    with pytest.raises(UserError, match="not this one"):
        await serve_bundle(ServerConfig(bundle=bundle, port=0), print)
    assert threads[0] is not threading.main_thread()


async def test_fault_of_the_scheduler_turns_health(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse calls at once, and report NOT_SERVING, where nothing can be answered."""
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
    """Run `bertwire serve`, which must exit with 1 and one line on standard error, and return the line."""
    done = subprocess.run(bertwire("serve", *arguments), capture_output=True, text=True, timeout=60, check=False)
    lines = done.stderr.strip().splitlines()
    assert (done.returncode, done.stdout, len(lines)) == (1, "", 1), done.stderr
    return lines[0]


def test_refuses_port_in_use(server: Server, bundle: Path) -> None:
    """Name a port that another socket or another server listens on, instead of sharing it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        for port in (taken.getsockname()[1], server.address.rpartition(":")[2]):
            assert f"cannot listen on 127.0.0.1:{port}" in refusal(bundle, "--port", port)


def test_refuses_bad_options(bundle: Path, tmp_path: Path) -> None:
    """Name a missing bundle, an unknown variant, an unproven provider and limits that no call could keep."""
    assert "could never take a call of --max-texts 1024" in refusal(bundle, "--max-queue-texts", 10)
    assert "no such bundle" in refusal(tmp_path / "none")
    assert "no variant fp64 for cpu; it has" in refusal(bundle, "--variant", "fp64", "--port", 0)
    assert "no variant for cuda; it has" in refusal(bundle, "--provider", "cuda", "--port", 0)


@pytest.mark.skipif(cuda_fault() is None, reason="CUDA is here")
def test_refuses_cuda_that_is_not_here(bundle: Path, tmp_path: Path, serve: Serve) -> None:
    """Refuse to serve a bundle for CUDA on the CPU where the provider is cuda."""

    def add_cuda(manifest: dict[str, Any]) -> None:
        for each in manifest["variants"]:
            each["providers"].append("cuda")
            each["proofs"].append(each["proofs"][0] | {"provider": "cuda"})

    copy = resealed(bundle, tmp_path / "copy", add_cuda)
    assert "ONNX Runtime cannot use cuda here" in refusal(copy, "--provider", "cuda", "--port", 0)
    with serve(copy) as server, grpc.insecure_channel(server.address) as channel:
        classify(channel, ClassifyRequest(texts=["w1"]))


def resealed(bundle: Path, copy: Path, edit: Edit) -> Path:
    """Copy a bundle with another manifest."""
    shutil.copytree(bundle, copy)
    reseal(copy, edit)
    return copy


def with_tokenizer(bundle: Path, copy: Path, edit: Edit) -> Path:
    """Copy a bundle with another tokenizer, consistently sealed."""
    shutil.copytree(bundle, copy)
    tokenizer = json.loads((copy / "tokenizer.json").read_text())
    edit(tokenizer)
    (copy / "tokenizer.json").write_text(json.dumps(tokenizer))
    rehash(copy)
    return copy


def each_variant(**fields: object) -> Edit:
    """Return an edit that gives every variant these fields."""
    return lambda manifest: [each.update(fields) for each in manifest["variants"]]


def other_segment(tokenizer: dict[str, Any]) -> None:
    """Give the first special token a segment that the graph does not have."""
    tokenizer["post_processor"]["single"][0]["SpecialToken"]["type_id"] = 9


def other_token(tokenizer: dict[str, Any]) -> None:
    """Give the special tokens ids that the graph does not have."""
    for special in tokenizer["post_processor"]["special_tokens"].values():
        special["ids"] = [999_999]


def longer(tokenizer: dict[str, Any]) -> None:
    """Give every text more special tokens than the model reads."""
    tokenizer["post_processor"]["single"] *= 20


@pytest.mark.parametrize(
    ("kind", "change", "edit", "reason"),
    [
        ("bundle", resealed, lambda manifest: manifest["labels"].append("fourth"), "shape (3,), not 1 of (4,)"),
        ("bundle", resealed, lambda manifest: manifest.update(max_length=1000), "fails on texts of 1000 tokens"),
        ("padded", resealed, lambda manifest: manifest.update(max_length=1000), "fails on texts of 1000 tokens"),
        ("padded", resealed, lambda manifest: manifest.update(pad_token_id=10_000), "fails on the bundle's probe"),
        ("bundle", resealed, each_variant(layout="padded", groups=0), "reads position_ids, which its layout does not"),
        ("padded", resealed, each_variant(layout="packed", groups=6), "reads attention_mask, which its layout does"),
        ("bundle", resealed, each_variant(groups=3), "reads group_3_tokens, which its layout does not have"),
        ("bundle", resealed, each_variant(groups=7), "fails on the bundle's probe"),
        ("bundle", with_tokenizer, other_segment, "the bundle's tokenizer"),
        ("bundle", with_tokenizer, other_token, "the bundle's tokenizer"),
        ("bundle", with_tokenizer, longer, "more than the model reads"),
    ],
)
async def test_refuses_bundle_that_could_not_answer(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    kind: str,
    change: Callable[[Path, Path, Edit], Path],
    edit: Edit,
    reason: str,
) -> None:
    """Refuse a resealed bundle whose graph does not fit its manifest or tokenizer before the port opens."""
    copy, opened = change(request.getfixturevalue(kind), tmp_path / "copy", edit), list[str]()
    with pytest.raises(UserError, match=re.escape(reason)):
        await serve_bundle(ServerConfig(bundle=copy, port=0), opened.append)
    assert opened == []


def test_text_without_tokens_is_refused(serve: Serve, bundle: Path, tmp_path: Path) -> None:
    """Refuse a text that gives no tokens, and give no other's answer for it."""
    bare = with_tokenizer(bundle, tmp_path / "copy", lambda tokenizer: tokenizer.update(post_processor=None))
    with serve(bare) as running, Client(running.address) as client:
        alone = client.classify(["w1 w2"], logits=True).results[0].logits
        with pytest.raises(InvalidArgumentError, match=r"texts\[0\] has no token"):
            client.classify(["\u200b", "w1 w2"])
        assert client.classify(["w1 w2"], logits=True).results[0].logits == alone


def test_leaves_nothing_at_home(serve: Serve, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write nothing into the home folder, whatever libraries do."""
    monkeypatch.setenv("HOME", str(tmp_path))
    with serve(bundle) as server, grpc.insecure_channel(server.address) as channel:
        classify(channel, ClassifyRequest(texts=["w1"]))
    assert list(tmp_path.iterdir()) == []


def test_imports_no_training_library(bundle: Path) -> None:
    """Import nothing that trains or exports to load a model."""
    script = (
        "import sys, pathlib; from bertwire_runtime.bundle import open_bundle;"
        "import bertwire_server.app, bertwire_server.cli; from bertwire_runtime.engine import choose_engine;"
        f"choose_engine(open_bundle(pathlib.Path({str(bundle)!r})), None, 'cpu', 1);"
        "others = ('torch', 'transformers', 'sklearn', 'onnx', 'bertwire_trainer');"
        "print([name for name in others if name in sys.modules])"
    )
    done = subprocess.run([bertwire()[0], "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
