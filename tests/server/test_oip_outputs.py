"""What answers of the Open Inference Protocol hold, by the model's task."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bertwire.oip import inference_pb2 as pb
from bertwire_core.tasks import TASKS, Task, TaskTable
from bertwire_runtime.bundle import Manifest, open_bundle
from bertwire_server.protocols.oip.describe import model_config, model_metadata
from oip_support import Echo, Infer, raw_request, typed_request, unpacked
from turns import turns_during

Make = Callable[..., pb.ModelInferRequest]
LOGITS = [0.0, 2.0, 2.0]
OUTPUTS: TaskTable[list[str]] = TaskTable(
    {
        "single_label": ["label", "score", "scores", "logits"],
        "multi_label": ["label", "score", "scores", "logits", "labels"],
        "token_classification": ["entities"],
        "regression": ["label", "score", "scores", "logits"],
    }
)


@pytest.fixture
def manifest(bundle: Path) -> Manifest:
    """Return the tiny model's manifest, with temperature 1."""
    plain = open_bundle(bundle).manifest
    return with_calibration(plain, temperature=1.0)


def with_calibration(manifest: Manifest, **values: object) -> Manifest:
    """Return the manifest with other calibration."""
    return manifest.model_copy(update={"calibration": manifest.calibration.model_copy(update=values)})


def tensors(response: pb.ModelInferResponse) -> dict[str, Any]:
    """Return every output of either form: numbers as an array, BYTES as a list."""
    found: dict[str, Any] = {}
    for index, output in enumerate(response.outputs):
        raw = response.raw_output_contents[index] if response.raw_output_contents else None
        if output.datatype == "BYTES":
            found[output.name] = list(output.contents.bytes_contents) if raw is None else unpacked(raw)
            assert len(found[output.name]) == np.prod(output.shape)
        else:
            values = output.contents.fp32_contents if raw is None else np.frombuffer(raw, "<f4")
            found[output.name] = np.array(values, np.float32).reshape(tuple(output.shape))
    return found


def shapes(response: pb.ModelInferResponse) -> dict[str, tuple[int, ...]]:
    """Return every output's shape."""
    return {each.name: tuple(each.shape) for each in response.outputs}


@pytest.mark.parametrize("make", [raw_request, typed_request])
@pytest.mark.parametrize("rank", [1, 2])
async def test_answers_as_it_was_asked(manifest: Manifest, make: Make, rank: int) -> None:
    """Answer raw to raw, typed to typed, in the shape of `text`; of equal scores take the first label."""
    response = await Infer(Echo(manifest, LOGITS))(make("w1", "w2", rank=rank))
    column = (2, 1)[:rank]
    assert shapes(response) == {"label": column, "score": column, "scores": (2, 3), "logits": (2, 3)}
    assert bool(response.raw_output_contents) == (make is raw_request)
    assert any(each.HasField("contents") for each in response.outputs) == (make is typed_request)
    found = tensors(response)
    powers = np.exp([0.0, 2.0, 2.0])
    assert found["label"] == [b"neutral", b"neutral"]
    np.testing.assert_array_equal(found["logits"], [LOGITS] * 2)
    np.testing.assert_allclose(found["scores"], [powers / powers.sum()] * 2, rtol=1e-6)
    np.testing.assert_array_equal(found["score"].ravel(), found["scores"].max(axis=1))


@pytest.mark.parametrize("make", [raw_request, typed_request])
async def test_classification(manifest: Manifest, make: Make) -> None:
    """Give only the outputs asked for, in that order, as value:index:label, best first, equal values by label."""
    manifest = manifest.model_copy(update={"labels": ("a", "b:b", "ć")})
    request = make("w1", "w2")
    request.outputs.add(name="logits").parameters["classification"].int64_param = 99
    request.outputs.add(name="scores").parameters["classification"].int64_param = 1
    response = await Infer(Echo(manifest, LOGITS))(request)
    assert list(shapes(response).items()) == [("logits", (2, 3)), ("scores", (2, 1))]
    found = tensors(response)
    assert found["logits"] == [b"2.000000:1:b:b", "2.000000:2:ć".encode(), b"0.000000:0:a"] * 2
    assert found["scores"] == [b"0.468311:1:b:b"] * 2


async def test_multi_label(manifest: Manifest) -> None:
    """Give the labels above the model's thresholds as JSON, best first; possibly none."""
    manifest = with_calibration(manifest.model_copy(update={"task": "multi_label"}), thresholds=(0.5, 0.9, 0.2))
    found = tensors(await Infer(Echo(manifest, [0.0, 2.0, 1.0]))(raw_request("w1")))
    assert [each["label"] for each in json.loads(found["labels"][0])] == ["positive", "negative"]
    np.testing.assert_allclose([each["score"] for each in json.loads(found["labels"][0])], [0.731059, 0.5], rtol=1e-5)
    np.testing.assert_allclose(found["scores"], [[0.5, 0.880797, 0.731059]], rtol=1e-5)
    assert found["label"] == [b"neutral"]
    assert tensors(await Infer(Echo(manifest, [-9, -9, -9]))(raw_request("w1")))["labels"] == [b"[]"]


async def test_regression(manifest: Manifest) -> None:
    """Give the number as score, scores and logits alike, and its name as label."""
    manifest = manifest.model_copy(update={"task": "regression", "labels": ("stars",)})
    found = tensors(await Infer(Echo(manifest, [-4.5]))(raw_request("w1")))
    assert found == {"label": [b"stars"], "score": [[-4.5]], "scores": [[-4.5]], "logits": [[-4.5]]}


@pytest.mark.parametrize("make", [raw_request, typed_request])
async def test_token_classification(manifest: Manifest, make: Make) -> None:
    """Give entities as JSON, with their places in the text as sent."""
    manifest = manifest.model_copy(update={"task": "token_classification", "labels": ("O", "B-PER", "I-PER")})
    model = Echo(manifest, [[9, 0, 0], [0, 9, 0], [0, 0, 9], [9, 0, 0]], words=[(1, 0, 2), (2, 3, 5)])
    response = await Infer(model)(make("ab cd", "ab cd"))
    assert shapes(response) == {"entities": (2, 1)}
    for each in tensors(response)["entities"]:
        (entity,) = json.loads(each)
        assert (entity["label"], entity["start"], entity["end"]) == ("PER", 0, 5)
        assert 0.99 < entity["score"] <= 1


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("pairs", [False, True])
def test_metadata_and_config_agree(manifest: Manifest, task: Task, pairs: bool) -> None:
    """List the same inputs and outputs in both, in the metadata with the batch in front."""
    manifest = manifest.model_copy(update={"task": task, "text_pairs": pairs})
    model = Infer(Echo(manifest, LOGITS)).catalog.model
    metadata, config = model_metadata(manifest, ["1"]), model_config(model, 8, allow_timeout_override=True)
    assert [each.name for each in metadata.inputs] == (["text", "text_pair"] if pairs else ["text"])
    for described, configured in ((metadata.inputs, config.input), (metadata.outputs, config.output)):
        assert [(each.name, list(each.shape)) for each in described] == [
            (each.name, [-1, *each.dims]) for each in configured
        ]
    assert [each.name for each in config.output] == OUTPUTS[task]


async def test_large_answer_leaves_others_their_turn(manifest: Manifest) -> None:
    """Yield to other calls while classes of many labels are written."""
    labels = tuple(map(str, range(1000)))
    infer = Infer(Echo(manifest.model_copy(update={"labels": labels}), list(range(1000))))
    request = raw_request(*["w1"] * 8)
    request.outputs.add(name="scores").parameters["classification"].int64_param = 1000
    assert (await turns_during(infer(request)))[1] > 1


async def test_statistics_add_up(manifest: Manifest) -> None:
    """Add up the counts and times of predictions, and the batches that the model ran."""
    infer = Infer(Echo(manifest, LOGITS))
    await infer(raw_request("w1", "w2"))
    await infer(typed_request("w1"))
    for texts in (3, 1, 3):
        infer.model.totals.add([3] * texts, 3 * texts, 0.5)
    message = infer.statistics.message(infer.catalog.model)
    assert (message.name, message.version, message.inference_count, message.execution_count) == ("tiny", "1", 3, 3)
    stats = message.inference_stats
    assert [(each.count, each.ns) for each in (stats.queue, stats.compute_input, stats.compute_infer)] == [
        (2, 500_000_000),
        (2, 1_000_000_000),
        (2, 2_000_000_000),
    ]
    assert stats.success.count == stats.compute_output.count == 2
    assert stats.success.ns > stats.compute_output.ns > 0
    assert [(each.batch_size, each.compute_infer.count, each.compute_infer.ns) for each in message.batch_stats] == [
        (1, 1, 500_000_000),
        (3, 2, 1_000_000_000),
    ]
    assert message.last_inference > 1.7e12
