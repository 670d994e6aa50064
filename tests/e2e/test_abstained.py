"""A model that abstains, from its training to the answers of every protocol."""

import json
import shutil
import socket
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import numpy as np
import onnx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from bertwire.oip import inference_pb2 as oip
from bertwire.oip.inference_pb2_grpc import GRPCInferenceServiceStub
from bertwire.tei import tei_pb2 as tei
from bertwire.tei.tei_pb2_grpc import PredictStub
from bertwire_batch import ScoreConfig, score_file
from bertwire_cli.classify import ClassifyConfig, run_classify
from bertwire_client import Client, Result
from bertwire_core.errors import UserError
from bertwire_core.scope import SCOPE, scopes
from bertwire_export.checkpoint import load_checkpoint
from bertwire_export.config import ExportConfig
from bertwire_export.pipeline import run
from bertwire_runtime.bundle import BundleError, add_file, open_bundle, seal
from bertwire_runtime.predictor import Predictor
from bertwire_runtime.scope import read_scope
from bertwire_trainer.config import TrainConfig
from bertwire_trainer.prepare import prepare
from bertwire_trainer.train import train_model
from rows import write
from support import WORDS, Serve


class Served(NamedTuple):
    """A bundle that abstains, the addresses of its server and of the metrics, a text of a label and a foreign one."""

    bundle: Path
    address: str
    metrics: str
    known: str
    foreign: str


def row(number: int) -> dict[str, Any]:
    word = "good" if number % 2 else "bad"
    return {"text": f"{WORDS[number % 30]} {word} {word}", "label": word}


@pytest.fixture(scope="module")
def bundle(task_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained with --abstain on texts of two labels."""
    folder = tmp_path_factory.mktemp("abstained")
    files: dict[str, Any] = {
        name: write(folder / f"{name}.jsonl", row, each)
        for name, each in {"train": range(60), "dev": range(60, 100), "test": range(100, 120)}.items()
    }
    recipe: dict[str, Any] = {"epochs": 3, "batch_size": 8, "learning_rate": 3e-3, "max_length": 16, "abstain": True}
    checkpoint, output = folder / "checkpoint", folder / "bundle"
    train_model(prepare(TrainConfig(**files, **recipe, model=str(task_base), output=checkpoint)))
    run(ExportConfig(checkpoint=checkpoint, output=output, quick=True, variants=["fp32", "int8"], force=True))
    return output


@pytest.fixture(scope="module")
def served(bundle: Path, serve: Serve) -> Iterator[Served]:
    """The text of the least scope of some that train never saw is the foreign one."""
    predictor, scope = Predictor(open_bundle(bundle), "fp32"), read_scope(open_bundle(bundle))
    assert scope is not None
    others = [" ".join(WORDS[place : place + 3]) for place in range(30, 57)]
    rows = np.stack(predictor.logits(predictor.encode(others)))
    foreign = others[int(np.argmin(scopes(*scope.split(rows), scope.centroids, scope.entropy_weight)))]
    (known,) = predictor.run(["w3 good good"])
    assert not known.abstained
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with serve(bundle, "--variant", "fp32", "--metrics-port", port) as running:
        yield Served(bundle, running.address, f"http://127.0.0.1:{port}/metrics", "w3 good good", foreign)


@pytest.fixture
def results(served: Served) -> Iterator[Callable[..., list[Result]]]:
    with Client(served.address) as client:
        yield lambda **options: list(client.classify([served.known, served.foreign], **options).results)


def test_no_label_of_a_foreign_text_is_predicted(results: Callable[..., list[Result]]) -> None:
    """Not even with a threshold that each score reaches; its scores are there."""
    for options in ({}, {"threshold": 0.0}, {"top_k": 1}):
        known, foreign = results(**options)
        assert (known.abstained, known.predicted) == (False, ("good",))
        assert (foreign.abstained, foreign.predicted) == (True, ())
        assert foreign.score >= 0.5


def test_logits_are_those_of_the_labels(results: Callable[..., list[Result]]) -> None:
    """The vector behind them is not answered."""
    assert [len(each.logits) for each in results(logits=True)] == [2, 2]


def test_decision_is_that_of_the_scope(served: Served) -> None:
    """By the sealed centroids and the manifest's numbers, for texts in a batch as alone."""
    bundle = open_bundle(served.bundle)
    predictor, abstention = Predictor(bundle, "fp32"), bundle.manifest.abstention
    assert abstention is not None
    centroids = np.load(served.bundle / abstention.file.name)
    texts = [served.known, served.foreign, *(" ".join(WORDS[place : place + 2]) for place in range(40))]
    rows = np.stack(predictor.logits(predictor.encode(texts)))
    found = scopes(rows[:, :2], rows[:, 2:], centroids, abstention.entropy_weight)
    refused = (found < abstention.threshold).tolist()
    assert [each.abstained for each in predictor.run(texts)] == refused
    assert [predictor.run([text])[0].abstained for text in texts] == refused


def test_refuses_a_graph_without_vectors(served: Served, tmp_path: Path) -> None:
    """A bundle whose graphs cannot tell is refused when it is loaded."""
    copy = tmp_path / "bundle"
    shutil.copytree(served.bundle, copy)
    manifest = open_bundle(copy).manifest
    variants = []
    for each in manifest.variants:
        graph = onnx.load(copy / each.file.name)
        del graph.graph.output[1:]
        onnx.save(graph, copy / each.file.name)
        variants.append(each.model_copy(update={"file": add_file(copy, each.file.name)}))
    seal(copy, manifest.model_copy(update={"variants": tuple(variants)}))
    with pytest.raises(BundleError, match=r"gives no vectors to abstain by; export it again$"):
        Predictor(open_bundle(copy))


@pytest.mark.parametrize("content", [None, b"x"])
def test_export_needs_the_centroids(served: Served, tmp_path: Path, content: bytes | None) -> None:
    """A checkpoint of an earlier version has none; one line says what to do."""
    copy = tmp_path / "checkpoint"
    shutil.copytree(served.bundle.with_name("checkpoint"), copy)
    (copy / SCOPE).unlink()
    if content is not None:
        (copy / SCOPE).write_bytes(content)
    with pytest.raises(UserError, match=r"scope.npy .*; train (it )?again"):
        load_checkpoint(copy)


def test_model_says_that_it_abstains(served: Served) -> None:
    with Client(served.address) as client:
        assert client.get_model().abstains


def test_gate_measured_it(served: Served) -> None:
    """Of each variant: the share of dev and test, and how often PyTorch does the same."""
    manifest = open_bundle(served.bundle).manifest
    assert manifest.abstention is not None
    assert 0 < manifest.abstention.dev <= 0.05
    fp32, int8 = sorted(manifest.variants, key=lambda each: each.precision)
    for quality, share in (
        (fp32.proofs[0].dev, manifest.abstention.dev),
        (fp32.proofs[0].test, manifest.abstention.test),
    ):
        assert quality is not None
        assert (quality.abstained, quality.abstain_agreement) == (share, 1.0)
    agreement = int8.proofs[0].dev.abstain_agreement
    assert agreement is not None
    assert 0.5 < agreement <= 1
    report = served.bundle.with_name("bundle.report.html").read_text()
    assert f"from {manifest.abstention.dev:.2%} of dev and" in report


def test_open_inference_protocol(served: Served) -> None:
    """A BOOL tensor beside the others, in both forms, which the metadata lists."""
    with grpc.insecure_channel(served.address) as channel:
        stub = GRPCInferenceServiceStub(channel)
        metadata = stub.ModelMetadata(oip.ModelMetadataRequest(name="bundle"))
        assert [(each.name, each.datatype) for each in metadata.outputs][-1] == ("abstained", "BOOL")
        config = stub.ModelConfig(oip.ModelConfigRequest(name="bundle")).config
        assert (config.output[-1].name, config.output[-1].data_type) == ("abstained", 1)
        tensor = oip.ModelInferRequest.InferInputTensor(name="text", datatype="BYTES", shape=[2])
        texts = [served.known.encode(), served.foreign.encode()]
        raw = oip.ModelInferRequest(
            model_name="bundle",
            inputs=[tensor],
            outputs=[oip.ModelInferRequest.InferRequestedOutputTensor(name="abstained")],
            raw_input_contents=[b"".join(len(each).to_bytes(4, "little") + each for each in texts)],
        )
        response = stub.ModelInfer(raw)
        assert (list(response.outputs[0].shape), response.raw_output_contents[0]) == ([2], b"\0\1")
        tensor.contents.bytes_contents.extend(texts)
        response = stub.ModelInfer(oip.ModelInferRequest(model_name="bundle", inputs=[tensor]))
        found = {each.name: each for each in response.outputs}
        assert list(found["abstained"].contents.bool_contents) == [False, True]
        assert len(found["label"].contents.bytes_contents) == 2


def test_text_embeddings_inference(served: Served) -> None:
    """That protocol has no word for it, and gives the scores."""
    with grpc.insecure_channel(served.address) as channel:
        found = PredictStub(channel).Predict(tei.PredictRequest(inputs=served.foreign))
        assert len(found.predictions) == 2


def test_scoring_a_file(served: Served, tmp_path: Path) -> None:
    """A column of its own, and no label where the model abstained."""
    path, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in (served.known, served.foreign)))
    score_file(ScoreConfig(inputs=[path], output=output, server=[served.address]))
    known, foreign = map(json.loads, output.read_text().splitlines())
    assert (known["predicted_label"], known["predicted_abstained"]) == ("good", False)
    assert (foreign["predicted_label"], foreign["predicted_abstained"]) == (None, True)
    assert foreign["predicted_score"] >= 0.5


def test_classify_says_so(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    run_classify(ClassifyConfig(address=served.address, texts=[served.known, served.foreign]))
    shown = capsys.readouterr().out
    assert f"abstained: {served.foreign}" in shown
    assert f"abstained: {served.known}" not in shown


def test_inspect_says_so(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    from bertwire_core.console import out
    from bertwire_export.tables import manifest_table

    out.print(manifest_table(open_bundle(served.bundle)))
    assert "of dev" in capsys.readouterr().out


def test_counted(served: Served) -> None:
    """Texts that the model abstains from are a counter of their own, and count for no label."""

    def counts() -> list[float]:
        with urllib.request.urlopen(served.metrics, timeout=60) as response:  # noqa: S310
            families = text_string_to_metric_families(response.read().decode())
        names = ("bertwire_abstained_texts_total", "bertwire_predictions_total")
        samples = [each for family in families for each in family.samples]
        return [sum(each.value for each in samples if each.name == name) for name in names]

    before = counts()
    with Client(served.address) as client:
        client.classify([served.foreign, served.foreign, served.known])
    assert np.subtract(counts(), before).tolist() == [2, 1]
