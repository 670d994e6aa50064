"""The Open Inference Protocol over the wire, as clients other than Triton's send it, and as nobody should."""

import random
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from bertwire.oip import inference_pb2 as pb
from bertwire.oip.inference_pb2_grpc import GRPCInferenceServiceStub
from bertwire.oip.model_repository_pb2_grpc import ModelRepositoryServiceStub
from oip_support import packed, raw_request
from support import Serve, Server

SERVICE = "inference.GRPCInferenceService"


@pytest.fixture
def channel(server: Server) -> Iterator[grpc.Channel]:
    """A channel to the shared server."""
    with grpc.insecure_channel(server.address) as channel:
        yield channel


def refusal(channel: grpc.Channel, method: str, content: bytes) -> tuple[str, str]:
    """Code and message of the failure of a unary call with any bytes."""
    call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(f"/{SERVICE}/{method}")
    with pytest.raises(grpc.RpcError) as caught:
        call(content, timeout=20)
    return caught.value.code().name, caught.value.details() or ""


@pytest.mark.parametrize("content", [b"\x0a\x02\xff\xfe", b"\x0a\x05w1", b"\xff" * 40])
@pytest.mark.parametrize("method", ["ModelInfer", "ModelMetadata", "RepositoryModelLoad"])
def test_refuses_malformed_message(channel: grpc.Channel, method: str, content: bytes) -> None:
    """A name that is not UTF-8, a cut message and random bytes are the caller's fault."""
    code, details = refusal(channel, method, content)
    assert code == "INVALID_ARGUMENT"
    assert "cannot be decoded" in details


def test_malformed_message_ends_its_stream(channel: grpc.Channel) -> None:
    """Nobody knows whose request it was, so the stream fails, after the answers to what came before."""
    stream: grpc.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(f"/{SERVICE}/ModelStreamInfer")
    answers = stream(iter([raw_request("w1", id="0").SerializeToString(), b"\xff" * 9]), timeout=20)
    assert pb.ModelStreamInferResponse.FromString(next(answers)).infer_response.id == "0"
    with pytest.raises(grpc.RpcError, match="cannot be decoded") as caught:
        next(answers)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("method", ["RepositoryModelLoad", "RepositoryModelUnload"])
def test_takes_the_name_of_a_model_where_kserve_writes_it(channel: grpc.Channel, method: str) -> None:
    """KServe's first field is the model, Triton's the repository; both layouts reach the same model."""
    kserve, triton, neither, both = b"\x0a\x05other", b"\x12\x05other", b"", b"\x0a\x01r\x12\x05other"
    assert refusal(channel, method, kserve) == refusal(channel, method, triton)
    assert refusal(channel, method, kserve)[0] == "NOT_FOUND"
    assert refusal(channel, method, neither) == ("INVALID_ARGUMENT", "model_name is empty; name a model")
    assert refusal(channel, method, both)[1] == "no repository 'r' here; leave repository_name empty"


@pytest.mark.parametrize(
    "method", ["SystemSharedMemoryStatus", "CudaSharedMemoryRegister", "TraceSetting", "LogSettings"]
)
def test_says_what_it_does_not_serve(channel: grpc.Channel, method: str) -> None:
    """Triton's other calls are UNIMPLEMENTED."""
    assert refusal(channel, method, b"")[0] == "UNIMPLEMENTED"


def test_model_repository_by_mlservers_name(channel: grpc.Channel) -> None:
    """MLServer's service of the model repository lists, unloads and loads as the protocol's own calls do."""
    stub, ready = ModelRepositoryServiceStub(channel), GRPCInferenceServiceStub(channel).ModelReady
    name = pb.ModelReadyRequest(name="tiny")
    stub.RepositoryModelUnload(pb.RepositoryModelUnloadRequest(model_name="tiny"), timeout=20)
    assert not ready(name, timeout=20).ready
    stub.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name="tiny"), timeout=60)
    assert ready(name, timeout=20).ready
    (model,) = stub.RepositoryIndex(pb.RepositoryIndexRequest(), timeout=20).models
    assert (model.name, model.version, model.state) == ("tiny", "1", "READY")


def test_index_can_be_of_ready_models(channel: grpc.Channel) -> None:
    """The ready model is in either index; there is one repository, without a name."""
    stub = GRPCInferenceServiceStub(channel)
    for ready in (False, True):
        (model,) = stub.RepositoryIndex(pb.RepositoryIndexRequest(ready=ready), timeout=20).models
        assert (model.name, model.version, model.state, model.reason) == ("tiny", "1", "READY", "")
    assert refusal(channel, "RepositoryIndex", b"\x0a\x01r")[0] == "INVALID_ARGUMENT"


def test_timeout_counts_where_the_server_allows_it(serve: Serve, bundle: Path, channel: grpc.Channel) -> None:
    """The parameter is ignored, as in Triton; with --allow-timeout-override it is microseconds, as the message says."""
    request = raw_request("w1", parameters={"timeout": pb.InferParameter(int64_param=1)})
    assert GRPCInferenceServiceStub(channel).ModelInfer(request, timeout=20).outputs
    with (
        serve(bundle, "--variant", "fp32", "--allow-timeout-override") as allowing,
        grpc.insecure_channel(allowing.address) as other,
    ):
        refused = refusal(other, "ModelInfer", request.SerializeToString())
        assert refused[0] == "DEADLINE_EXCEEDED"
        assert "the request's timeout of 1 microseconds passed" in refused[1]
        configs = [
            GRPCInferenceServiceStub(each).ModelConfig(pb.ModelConfigRequest(name="tiny")) for each in (channel, other)
        ]
        policies = [each.config.dynamic_batching.default_queue_policy for each in configs]
        assert [each.allow_timeout_override for each in policies] == [False, True]


async def test_cancelled_streams_leave_nothing_behind(server: Server) -> None:
    """Streams that are cancelled at any point hold up neither the server nor the next stream."""
    generator = random.Random(4)  # noqa: S311 - test data
    async with grpc.aio.insecure_channel(server.address) as channel:
        stub = GRPCInferenceServiceStub(channel)
        for _ in range(30):
            stream = stub.ModelStreamInfer(timeout=60)
            for number in range(generator.randrange(8)):
                await stream.write(raw_request(*["w1 w2"] * 50, id=str(number)))
            stream.cancel()
        stream = stub.ModelStreamInfer(iter([raw_request("w1", id="last")]), timeout=60)
        assert [each.infer_response.id async for each in stream] == ["last"]


def test_random_bytes_as_raw_content(channel: grpc.Channel) -> None:
    """Cut and altered content is answered or refused, never INTERNAL."""
    generator = random.Random(5)  # noqa: S311 - test data
    stub = GRPCInferenceServiceStub(channel)
    calls = []
    for _ in range(300):
        content = bytearray(packed(b"w1 w2", b"w3"))
        for _ in range(generator.randrange(4)):
            content[generator.randrange(len(content))] = generator.randrange(256)
        request = raw_request("w1", "w2")
        request.raw_input_contents[0] = bytes(content[: generator.randrange(len(content) + 1)])
        calls.append(stub.ModelInfer.future(request, timeout=30))
    assert {call.code() for call in calls} <= {grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT}
