"""The Open Inference Protocol over the wire, as clients other than Triton's send it."""

from pathlib import Path

import grpc
import pytest

from bertwire.oip import inference_pb2 as pb
from bertwire.oip.inference_pb2_grpc import GRPCInferenceServiceStub
from bertwire.oip.model_repository_pb2_grpc import ModelRepositoryServiceStub
from oip_support import raw_request
from support import Serve

SERVICE = "inference.GRPCInferenceService"


def refusal(channel: grpc.Channel, method: str, content: bytes) -> tuple[str, str]:
    """Return code and message with which a unary call of any bytes fails."""
    call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(f"/{SERVICE}/{method}")
    with pytest.raises(grpc.RpcError) as caught:
        call(content, timeout=20)
    return caught.value.code().name, caught.value.details() or ""


@pytest.mark.parametrize("method", ["RepositoryModelLoad", "RepositoryModelUnload"])
def test_takes_the_name_of_a_model_where_kserve_writes_it(channel: grpc.Channel, method: str) -> None:
    """Read the model's name from KServe's first field or from Triton's second."""
    kserve, triton, neither, both = b"\x0a\x05other", b"\x12\x05other", b"", b"\x0a\x01r\x12\x05other"
    assert refusal(channel, method, kserve) == refusal(channel, method, triton)
    assert refusal(channel, method, kserve)[0] == "NOT_FOUND"
    assert refusal(channel, method, neither) == ("INVALID_ARGUMENT", "model_name is empty; name a model")
    assert refusal(channel, method, both)[1] == "no repository 'r' here; leave repository_name empty"


def test_model_repository_by_either_name(channel: grpc.Channel) -> None:
    """List, unload and load by MLServer's service as by the protocol's own calls, of the one repository."""
    mlserver, own = ModelRepositoryServiceStub(channel), GRPCInferenceServiceStub(channel)
    mlserver.RepositoryModelUnload(pb.RepositoryModelUnloadRequest(model_name="tiny"), timeout=20)
    assert not own.ModelReady(pb.ModelReadyRequest(name="tiny"), timeout=20).ready
    assert not own.RepositoryIndex(pb.RepositoryIndexRequest(ready=True), timeout=20).models
    mlserver.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name="tiny"), timeout=60)
    assert own.ModelReady(pb.ModelReadyRequest(name="tiny"), timeout=20).ready
    for stub, ready in ((mlserver, False), (own, False), (own, True)):
        (model,) = stub.RepositoryIndex(pb.RepositoryIndexRequest(ready=ready), timeout=20).models
        assert (model.name, model.version, model.state, model.reason) == ("tiny", "1", "READY", "")
    assert refusal(channel, "RepositoryIndex", b"\x0a\x01r")[0] == "INVALID_ARGUMENT"


def test_timeout_counts_where_the_server_allows_it(serve: Serve, bundle: Path, channel: grpc.Channel) -> None:
    """Ignore the timeout, as Triton; with --allow-timeout-override take it as microseconds."""
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
