"""The files of bench/harness/ send what a server answers; Locust itself runs where its environment is there."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.json_format import ParseDict

from bertwire.oip.inference_pb2 import ModelInferRequest
from bertwire.oip.inference_pb2_grpc import GRPCInferenceServiceStub
from bertwire.v1.classifier_pb2 import ClassifyRequest
from support import Server

ROOT = Path(__file__).resolve().parents[2]
HARNESS = ROOT / "bench" / "harness"
LOCUST = ROOT / ".tools" / "bin" / "locust"
CALL = "bertwire.v1.Classifier/Classify"


def read(name: str) -> Any:  # noqa: ANN401 - JSON
    """A JSON file of the harness."""
    return json.loads((HARNESS / name).read_bytes())


def test_ghz_calls_what_exists() -> None:
    """The proto is there, and the data are requests."""
    config = read("ghz.json")
    assert config["call"] == CALL
    assert (ROOT / config["proto"]).is_file()
    for data in config["data"]:
        assert ParseDict(data, ClassifyRequest()).texts


def test_k6_calls_what_exists() -> None:
    """Its method and its proto are those of the server, and its request has the fields of one."""
    script = (HARNESS / "k6.js").read_text(encoding="utf-8")
    folder, proto = re.findall(r"client\.load\(\[import\.meta\.resolve\('(.+?)'\)\], '(.+?)'\)", script)[0]
    assert (HARNESS / folder / proto).is_file()
    assert re.findall(r"client\.invoke\('(.+?)'", script) == [CALL]
    (fields,) = re.findall(r"const request = \{(.+)\};", script)
    assert set(re.findall(r"(\w+): ", fields)) <= set(ClassifyRequest.DESCRIPTOR.fields_by_name)


def test_perf_analyzers_data_are_answered(server: Server) -> None:
    """A request of each entry, with the one dimension beside the batch that the model's configuration has."""
    with grpc.insecure_channel(server.address) as channel:
        stub = GRPCInferenceServiceStub(channel)
        for entry in read("perf_analyzer.json")["data"]:
            request = ModelInferRequest(model_name="tiny")
            for name, values in entry.items():
                tensor = request.inputs.add(name=name, datatype="BYTES", shape=[1, len(values)])
                tensor.contents.bytes_contents.extend(value.encode() for value in values)
            assert "label" in {each.name for each in stub.ModelInfer(request, timeout=30).outputs}


@pytest.mark.skipif(not LOCUST.is_file(), reason="needs the environment of Locust: make tools")
def test_locust_loads_a_server(server: Server) -> None:
    """Locust's users call the server without a failure, each over a connection of its own."""
    options = ["--headless", "--users", "2", "--spawn-rate", "2", "--run-time", "2s", "--json", "--skip-log"]
    command = [str(LOCUST), "-f", str(HARNESS / "locustfile.py"), "--host", server.address, *options]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "protos")}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    (calls,) = json.loads(result.stdout)
    assert (calls["method"], calls["name"], calls["num_failures"]) == ("grpc", "Classify", 0)
    assert calls["num_requests"] > 2
