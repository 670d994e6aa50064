"""A real server's metrics, traces and log, after real calls."""

import json
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

import grpc
import pytest
from prometheus_client.parser import text_string_to_metric_families

import http2
from bertwire.v1.classifier_pb2 import ClassifyRequest, ClassifyStreamRequest
from bertwire.v1.classifier_pb2_grpc import ClassifierStub
from collector import collecting
from support import LABELS, bertwire

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
CODES = ("OK", "INVALID_ARGUMENT")
METHOD = "/bertwire.v1.Classifier/Classify"


def started(bundle: Path, *options: object) -> "subprocess.Popen[str]":
    """Start a server on a free port, which ends without delay, and read what it prints."""
    command = bertwire("serve", bundle, "--port", 0, "--shutdown-delay-seconds", 0, *options, python=sys.executable)
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("texts_logged", [False, True])
def test_server_shows_what_it_did(bundle: Path, texts_logged: bool) -> None:
    """Show calls in the log and a sampled one in the collector; texts only when asked."""
    options = ("--trace-ratio", 0, "--log-format", "json", "--log-level", "debug", *["--log-texts"] * texts_logged)
    with collecting() as collector, started(bundle, "--otlp-endpoint", collector.address, *options) as process:
        assert process.stdout is not None
        address = process.stdout.readline().split(" at ")[-1].strip()
        with grpc.insecure_channel(address) as channel:
            stub = ClassifierStub(channel)
            metadata = (("traceparent", TRACE), ("x-request-id", "r-1"))
            stub.Classify(ClassifyRequest(texts=["w1 w2 ann@example.org", "w3"]), metadata=metadata)
            stub.Classify(ClassifyRequest(texts=["w1"]))
            with pytest.raises(grpc.RpcError):
                stub.Classify(ClassifyRequest(texts=["w1"], model="other"))
        process.terminate()
        _, errors = process.communicate(timeout=60)
    messages = [json.loads(line) for line in errors.splitlines() if line.startswith("{")]
    calls = [each for each in messages if each["logger"] == "bertwire_server.calls"]
    assert [(each["code"], each["texts"]) for each in calls] == [("OK", 2), ("OK", 1), ("NOT_FOUND", 0)]
    assert calls[2]["reason"].startswith("no model 'other' here")
    assert calls[2]["peer"].startswith("ipv")
    assert (calls[0]["request_id"], calls[0]["trace_id"]) == ("r-1", TRACE[3:35])
    assert calls[0].get("content") == (["w1 w2 [e-mail]", "w3"] if texts_logged else None)
    assert "w1" not in errors or texts_logged
    assert "ann@example.org" not in errors
    spans = collector.spans(4)
    assert {span.name for span in spans} == {METHOD[1:], "tokenize", "queue", "run"}
    assert {span.trace_id.hex() for span in spans} == {TRACE[3:35]}


def test_metrics_of_a_running_server(bundle: Path) -> None:
    """Show in the metrics what was asked, answered and refused."""
    with started(bundle, "--metrics-port", 0) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        shown = next(found for line in process.stderr if (found := re.search(r"http://\S+/metrics", line)))[0]
        address = process.stdout.readline().split(" at ")[-1].strip()
        with grpc.insecure_channel(address) as channel:
            stub = ClassifierStub(channel)
            for _ in range(3):
                stub.Classify(ClassifyRequest(texts=["w1", "w2 w3"]))
            with pytest.raises(grpc.RpcError):
                stub.Classify(ClassifyRequest(texts=[" "]))
            stream = [ClassifyStreamRequest(id=str(n), request=ClassifyRequest(texts=["w1"] * n)) for n in range(3)]
            assert len(list(stub.ClassifyStream(iter(stream)))) == 3
        with urllib.request.urlopen(shown, timeout=60) as response:  # noqa: S310
            families = list(text_string_to_metric_families(response.read().decode()))
        process.terminate()
        process.communicate(timeout=60)
    samples = [sample for family in families for sample in family.samples]

    def total(name: str, **labels: str) -> float:
        return sum(each.value for each in samples if each.name == name and labels.items() <= each.labels.items())

    assert total("bertwire_requests_total", method=METHOD, code="OK") == 3
    (model,) = (each.labels["model"] for each in samples if each.name == "bertwire_model_info")
    assert total("bertwire_requests_total", method=METHOD, code="INVALID_ARGUMENT", model=model) == 1
    assert total("bertwire_request_seconds_count", method=METHOD) == 3
    streamed = {code: total("bertwire_requests_total", method=f"{METHOD}Stream", code=code) for code in CODES}
    assert streamed == {"OK": 2, "INVALID_ARGUMENT": 1}
    assert total("bertwire_batch_texts_sum") == total("bertwire_queue_wait_seconds_count") == 9
    assert total("bertwire_tokenize_seconds_count") == 5
    assert sum(total("bertwire_predictions_total", label=label) for label in LABELS) == 9
    assert total("bertwire_tokens_total") == 3 * (3 + 4) + 3 * 3
    assert total("bertwire_busy_seconds_total") > 0
    assert total("bertwire_model_info") == total("bertwire_model_healthy") == total("bertwire_models_loaded") == 1


def test_credential_that_is_no_text_is_not_logged(bundle: Path) -> None:
    """Refuse metadata that gRPC cannot decode, and log none of it."""
    with started(bundle) as process:
        assert process.stdout is not None
        address = process.stdout.readline().split(" at ")[-1].strip()
        with http2.connect(address) as connection:
            http2.say_hello(connection)
            connection.sendall(http2.headers(METHOD, more={"authorization": b"Bearer bw-secret\xff"}))
            connection.sendall(http2.frame(http2.DATA, http2.END_STREAM, 1, http2.message(b"")))
            http2.heard(connection)
        with grpc.insecure_channel(address) as channel:
            ClassifierStub(channel).Classify(ClassifyRequest(texts=["w1"]))
        process.terminate()
        _, errors = process.communicate(timeout=60)
    assert "told to stop" in errors
    assert "secret" not in errors
    assert "Traceback" not in errors
