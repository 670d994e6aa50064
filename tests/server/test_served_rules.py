"""Rules end to end: a real server applies and names them, in every protocol, its metrics and its clients."""

import csv
import json
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from scipy.special import softmax

from bags import logits, make_bag, table
from bertwire.oip import inference_pb2 as oip
from bertwire.oip.inference_pb2_grpc import GRPCInferenceServiceStub
from bertwire.tei import tei_pb2
from bertwire.tei.tei_pb2_grpc import PredictStub
from bertwire_cli.classify import ClassifyConfig, run_classify
from bertwire_client import Client
from oip_support import raw_request, unpacked
from support import LABELS, Serve, Server, bertwire

WEIGHTS = table(5)
RULES: list[dict[str, Any]] = [
    {"name": "forced", "pattern": r"\bw1\b", "label": LABELS[2], "force": True},
    {"name": "forbidden", "pattern": "w2", "label": LABELS[0], "forbid": True},
    {"name": "boosted", "pattern": "(?i)W3", "label": LABELS[1], "boost": 1.5},
    {"name": "shouted", "pattern": "W3", "label": LABELS[1], "boost": -5},
]


@pytest.fixture(scope="module")
def folder(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bag of words with the rules."""
    return make_bag(bundle, tmp_path_factory.mktemp("ruled") / "tiny", WEIGHTS, rules=RULES)


@pytest.fixture(scope="module")
def server(serve: Serve, folder: Path) -> Iterator[Server]:
    """Serve it with a cache."""
    with serve(folder, "--cache-mb", 1) as running:
        yield running


def test_force_forbid_and_boost(server: Server) -> None:
    """Give the scores that follow from the logits and the rules that match, from the cache too, and name these."""
    base = {text: logits(WEIGHTS, *text.lower().split()).astype(np.float64) for text in ("w4 w1", "w2 w5", "w3", "w4")}
    forbidden = base["w2 w5"].copy()
    forbidden[0] = -np.inf
    expected = {
        "w4 w1": ([0.0, 0.0, 1.0], ("forced",)),
        "w2 w5": (softmax(forbidden), ("forbidden",)),
        "w3": (softmax(base["w3"] + [0, 1.5, 0]), ("boosted",)),
        "W3": (softmax(base["w3"] + [0, -3.5, 0]), ("boosted", "shouted")),
        "w4": (softmax(base["w4"]), ()),
    }
    with Client(server.address) as client:
        assert client.get_model().rules == tuple(each["name"] for each in RULES)
        for _ in range(2):
            reply = client.classify(list(expected), logits=True)
            for result, (text, (scores, names)) in zip(reply.results, expected.items(), strict=True):
                found = {each.label: each.score for each in result.labels}
                assert [found[label] for label in LABELS] == pytest.approx(list(scores), abs=1e-6)
                assert result.predicted == (LABELS[int(np.argmax(scores))],)
                assert result.rules == names
                np.testing.assert_array_equal(result.logits, base[text.lower()])


def test_other_protocols(server: Server) -> None:
    """An output `rules` of JSON, and scores with the rules."""
    with grpc.insecure_channel(server.address) as channel:
        stub = GRPCInferenceServiceStub(channel)
        response = stub.ModelInfer(raw_request("w4 w1", "W3", "w4"))
        found = {each.name: place for place, each in enumerate(response.outputs)}
        values = unpacked(response.raw_output_contents[found["rules"]])
        assert [json.loads(each) for each in values] == [["forced"], ["boosted", "shouted"], []]
        metadata = stub.ModelMetadata(oip.ModelMetadataRequest(name="tiny"))
        assert [each.datatype for each in metadata.outputs if each.name == "rules"] == ["BYTES"]
        answer = PredictStub(channel).Predict(tei_pb2.PredictRequest(inputs="w4 w1"))
        assert (answer.predictions[0].label, answer.predictions[0].score) == (LABELS[2], 1)


def test_rules_are_an_output_of_models_that_have_some(serve: Serve, bundle: Path, tmp_path: Path) -> None:
    """Others answer without, and refuse to be asked for it."""
    with (
        serve(make_bag(bundle, tmp_path / "tiny", WEIGHTS)) as running,
        grpc.insecure_channel(running.address) as channel,
    ):
        stub = GRPCInferenceServiceStub(channel)
        request = raw_request("w1")
        assert "rules" not in [each.name for each in stub.ModelInfer(request).outputs]
        request.outputs.add(name="rules")
        with pytest.raises(grpc.RpcError) as caught:
            stub.ModelInfer(request)
        assert caught.value.details() == "the model has no output 'rules'; it has label, score, scores, logits"


def test_classify_shows_them(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    """In a column of the table, where a rule matched any of the texts."""
    for texts, shown in ((["w4", "W3"], "boosted, shouted"), (["w4"], "")):
        run_classify(ClassifyConfig(address=server.address, texts=texts))
        found = capsys.readouterr().out
        assert ("rules" in found) == bool(shown)
        assert shown in found


def test_score_writes_them(server: Server, tmp_path: Path) -> None:
    """In a column of their own."""
    (tmp_path / "in.csv").write_text("text\nw4\nW3\n")
    (tmp_path / "in.jsonl").write_text('{"text": "w4 w1"}\n{"text": "w4"}\n')
    for name in ("in.csv", "in.jsonl"):
        output = tmp_path / name.replace("in", "out")
        subprocess.run(bertwire("score", tmp_path / name, "--output", output, "--server", server.address), check=True)
    with (tmp_path / "out.csv").open() as file:
        assert [row["predicted_rules"] for row in csv.DictReader(file)] == ["[]", '["boosted", "shouted"]']
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["predicted_rules"] for row in rows] == [["forced"], []]


def test_matches_are_counted(folder: Path) -> None:
    """By model, version and rule, from 0 on."""
    command = bertwire("serve", folder, "--port", 0, "--metrics-port", 0)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        address = process.stdout.readline().split(" at ")[-1].strip()
        metrics = next(line.split(" at ")[-1].strip() for line in process.stderr if "/metrics" in line)
        try:
            with Client(address) as client:
                client.classify(["w1", "W3 w1", "w4"])
            with urllib.request.urlopen(metrics) as page:  # noqa: S310 - ours
                found = [line for line in page.read().decode().splitlines() if "rule_matches_total{" in line]
        finally:
            process.kill()
    assert found == [
        f'bertwire_rule_matches_total{{model="tiny",rule="{rule}",version="1"}} {count}.0'
        for rule, count in {"forced": 2, "forbidden": 0, "boosted": 1, "shouted": 1}.items()
    ]


def test_bundle_is_refused_without_re2(folder: Path) -> None:
    """In one line that says what to install."""
    start = f"import sys; sys.modules['re2'] = None; sys.argv[1:] = ['serve', {str(folder)!r}, '--port', '0']"
    command = [bertwire()[0], "-c", f"{start}\nfrom bertwire_cli.main import main\nmain()"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert "rules need the package google-re2, which is not installed: pip install google-re2" in line
