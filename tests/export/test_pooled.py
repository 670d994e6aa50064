"""Heads that read a pooled vector, exported: PyTorch's logits in every graph, in any batch, and whole bundles."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray

from bertwire_core.errors import UserError
from bertwire_core.pooled import PooledClassifier
from bertwire_core.pooling import KEY, Pooled, Pooling
from bertwire_export.checkpoint import load_checkpoint
from bertwire_export.convert import convert, fuse
from bertwire_export.half import to_half
from bertwire_export.optimum.plain import plain_config
from bertwire_export.packed.build import build_packed
from bertwire_export.packed.linear import Fp32Linears, Int8Linears, Linears
from bertwire_export.packed.ranges import measure_ranges
from bertwire_export.packed.weights import read_encoder
from bertwire_export.quantize import quantize_padded
from bertwire_runtime.bundle import open_bundle
from bertwire_runtime.layouts import Layout, arrange
from bertwire_runtime.predictor import Predictor
from bertwire_runtime.runner import Runner
from bertwire_trainer.config import TrainConfig
from bertwire_trainer.prepare import prepare
from bertwire_trainer.train import train_model
from graphs import Text, export, random_batch, tiny_pooled
from rows import LIMITS, MAX_LENGTH, ROWS, write
from support import export_padded

Floats = NDArray[np.float32]
TOKENS: list[Pooled] = ["first", "mean", "max"]
POOLINGS = [
    Pooling(tokens, pooler, normalize) for tokens in TOKENS for pooler in (False, True) for normalize in (False, True)
]
# Every pooling of one family, and the others with the one that has most parts.
OTHERS = ["camembert", "distilbert", "electra", "roberta", "xlm-roberta"]
CASES = [("bert", each) for each in POOLINGS] + [(each, Pooling("mean", True, True)) for each in OTHERS]
# Short and long side by side, in no order; more texts than groups, and one of a single token.
LENGTHS = [3, 60, 4, 31, 60, 3, 17, 1]
PADDED = Layout("padded", 0, 1, by_token=False)
GROUPS = 3


def pytorch(model: PooledClassifier, texts: Sequence[Text]) -> Floats:
    """The logits of each text alone, float32 [texts, labels]."""
    rows = []
    for text in texts:
        types = [text.type_ids] if getattr(model.config, "type_vocab_size", 0) > 1 else None
        with torch.inference_mode():
            found = model(torch.tensor([text.ids]), token_type_ids=None if types is None else torch.tensor(types))
        rows.append(found.logits[0].numpy())
    return np.stack(rows)


def packed(model: PooledClassifier, path: Path, *, int8: bool = False, groups: int = GROUPS) -> Runner:
    """The packed graph in a session."""
    encoder, linears = read_encoder(model), Fp32Linears()
    chosen: Linears = linears
    if int8:
        one = Layout("packed", 1, 1, by_token=False, skips_padding=encoder.skips_padding)
        chosen = Int8Linears(measure_ranges(encoder, 1, [arrange(random_batch(LENGTHS, seed), one) for seed in (7, 8)]))
    onnx.save(build_packed(encoder, chosen, groups), path)
    return Runner(path, Layout("packed", groups, 1, False, encoder.skips_padding), "cpu", threads=1)


def padded(model: PooledClassifier, folder: Path, kind: str) -> Runner:
    """The padded graph in a session, in fp32, fp16 or int8."""
    path = folder / "graph.onnx"
    convert(model, folder / "unfused.onnx")
    fuse(folder / "unfused.onnx", model, path, attention=kind != "int8")
    if kind == "fp16":
        onnx.save(to_half(onnx.load(path)), path)
    if kind == "int8":
        quantize_padded(
            path, (arrange([each], PADDED) for seed in (7, 8) for each in random_batch(LENGTHS, seed)), path
        )
    return Runner(path, PADDED, "cpu", threads=1)


def alone(runner: Runner, texts: Sequence[Text]) -> Floats:
    return np.stack([runner.by_text([text])[0] for text in texts])


@pytest.mark.parametrize(("family", "pooling"), CASES, ids=str)
def test_packed_fp32_gives_pytorchs_logits(tmp_path: Path, family: str, pooling: Pooling) -> None:
    """On batches of mixed lengths with two segments; padding and other texts count for nothing."""
    model = tiny_pooled(family, pooling)
    runner = packed(model, tmp_path / "fp32.onnx")
    for seed in range(2):
        texts = random_batch(LENGTHS, seed)
        np.testing.assert_allclose(np.stack(runner.by_text(texts)), pytorch(model, texts), atol=2e-5)


@pytest.mark.parametrize(("family", "pooling"), CASES, ids=str)
def test_packed_int8_is_the_same_in_any_batch(tmp_path: Path, family: str, pooling: Pooling) -> None:
    """To the last bit, alone, among others and in another order; and near PyTorch's."""
    model = tiny_pooled(family, pooling)
    runner = packed(model, tmp_path / "int8.onnx", int8=True)
    texts = random_batch(LENGTHS)
    found, expected = np.stack(runner.by_text(texts)), pytorch(model, texts)
    assert np.array_equal(found, alone(runner, texts))
    assert np.array_equal(found[::-1], np.stack(runner.by_text(texts[::-1])))
    assert np.abs(found - expected).mean() < 0.2 * expected.std()


@pytest.mark.parametrize("tokens", ["mean", "max"])
def test_every_length_is_the_same_beside_a_longer_one(tmp_path: Path, tokens: Pooled) -> None:
    """Kernels add in another order by the length that a batch is padded to; the pooled vector is the same."""
    runner = packed(tiny_pooled("bert", Pooling(tokens)), tmp_path / "int8.onnx", int8=True, groups=1)
    texts = random_batch(list(range(1, 64)))
    assert np.array_equal(np.stack(runner.by_text(texts)), alone(runner, texts))


@pytest.mark.parametrize("groups", [1, 16])
@pytest.mark.parametrize("tokens", ["mean", "max"])
def test_any_number_of_groups(tmp_path: Path, tokens: Pooled, groups: int) -> None:
    """One group, and more than there are texts, for a model of one layer."""
    model = tiny_pooled("bert", Pooling(tokens), layers=1)
    runner = packed(model, tmp_path / "fp32.onnx", groups=groups)
    for lengths in ([1], [60], LENGTHS, [5] * 40):
        texts = random_batch(lengths)
        np.testing.assert_allclose(np.stack(runner.by_text(texts)), pytorch(model, texts), atol=2e-5)


@pytest.mark.parametrize(("kind", "near"), [("fp32", 2e-5), ("fp16", 0.05)])
@pytest.mark.parametrize("pooling", POOLINGS, ids=str)
def test_padded_gives_pytorchs_logits(tmp_path: Path, pooling: Pooling, kind: str, near: float) -> None:
    """In fp32 and, up to its rounding, in fp16; the padding of a batch counts for nothing."""
    model = tiny_pooled("bert", pooling)
    runner, texts = padded(model, tmp_path, kind), random_batch(LENGTHS)
    np.testing.assert_allclose(np.stack(runner.by_text(texts)), pytorch(model, texts), atol=near)
    np.testing.assert_allclose(np.stack(runner.by_text(texts)), alone(runner, texts), atol=near)


@pytest.mark.parametrize("family", ["albert", "mpnet"])
@pytest.mark.parametrize("pooling", [Pooling("mean", normalize=True), Pooling("max", pooler=True)], ids=str)
def test_padded_int8_is_near_in_any_batch(tmp_path: Path, family: str, pooling: Pooling) -> None:
    """Of families that have no packed graph; the other texts move it by no more than export allows."""
    model = tiny_pooled(family, pooling, pad_token_id=1)
    runner, texts = padded(model, tmp_path, "int8"), random_batch(LENGTHS)
    found, expected = np.stack(runner.by_text(texts)), pytorch(model, texts)
    assert np.abs(found - expected).mean() < 0.3 * expected.std()
    assert np.abs(found - alone(runner, texts)).max() <= 1e-3


def trained(base: Path, folder: Path, kind: str, **options: Any) -> Path:  # noqa: ANN401 - any option of the command
    """A checkpoint of a tiny model of a kind of rows."""
    numbers = {"train": range(64), "dev": range(64, 104)}
    files: dict[str, Any] = {name: write(folder / f"{name}.jsonl", ROWS[kind], each) for name, each in numbers.items()}
    recipe = {"epochs": 3, "batch_size": 8, "learning_rate": 3e-3, "max_length": MAX_LENGTH, "precision": "fp32"}
    config = TrainConfig(**(files | recipe | options), model=str(base), output=folder / "checkpoint", report=False)
    train_model(prepare(config))
    return config.output


def by_pytorch(checkpoint: Path) -> list[tuple[Any, list[float]]]:
    """The texts of dev, and the logits that the trainer recorded for them."""
    rows = [json.loads(line) for line in (checkpoint / "predictions" / "dev.jsonl").read_text().splitlines()]
    return [((row["text"], row["text_pair"]) if "text_pair" in row else row["text"], row["logits"]) for row in rows]


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("pairs", {"pooling": "mean", "normalize": True, "learning_rate": 1e-2}),
        ("multi_label", {"pooling": "max"}),
        ("regression", {"pooling": "first", "pooler": True}),
    ],
)
def test_trained_exported_and_read(task_base: Path, tmp_path: Path, kind: str, options: dict[str, Any]) -> None:
    """The gate proves every variant, the probe lets each of them run, and fp32 answers as training did."""
    checkpoint = trained(task_base, tmp_path, kind, **options)
    export(checkpoint, tmp_path / "packed", **LIMITS)
    export_padded(checkpoint, tmp_path / "padded", **LIMITS)
    texts, expected = zip(*by_pytorch(checkpoint), strict=True)
    for layout in ("packed", "padded"):
        bundle = open_bundle(tmp_path / layout)
        variants = {each.precision: each for each in bundle.manifest.variants}
        assert {each.layout for each in variants.values()} == {layout}
        assert all(not each.proofs[0].faults for each in variants.values())
        if layout == "packed":
            assert variants["int8"].proofs[0].batch_variance == 0
        for variant, near in (("fp32", 1e-3), ("int8", 1.0)):
            predictor = Predictor(bundle, variant, "cpu", 1)
            found = np.stack([each.logits for each in predictor.run(texts)])
            assert np.abs(found - np.array(expected)).max() < near
            predictor.close()


def refusal(checkpoint: Path, **fields: object) -> str:
    """The one line with which a checkpoint is refused whose config.json has other fields."""
    path = checkpoint / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))
    with pytest.raises(UserError) as caught:
        load_checkpoint(checkpoint)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def saved(checkpoint: Path, tmp_path: Path) -> Path:
    """A copy of the tiny checkpoint with a pooled head."""
    copy = Path(shutil.copytree(checkpoint, tmp_path / "checkpoint"))
    model = load_checkpoint(checkpoint).model
    assert not isinstance(model, PooledClassifier)
    base: Any = model.base_model
    PooledClassifier(base, Pooling("mean")).save(copy)
    return copy


def test_refuses_what_does_not_fit(saved: Path) -> None:
    """A pooling that is none, weights of another shape, and weights that the pooling lacks are each one line."""
    assert isinstance(load_checkpoint(saved).model, PooledClassifier)
    lacking = refusal(saved, **{KEY: {"tokens": "mean", "pooler": True, "normalize": False}})
    assert "model.safetensors does not fit config.json: " in lacking
    assert "pooler." in lacking
    wrong = refusal(saved, **{KEY: {"tokens": "median", "pooler": False, "normalize": False}})
    assert f"its config.json has {KEY}" in wrong
    own = refusal(saved, **{KEY: None})
    assert "model.safetensors does not fit config.json: missing keys" in own


def test_refuses_a_pooled_vector_for_tags(saved: Path) -> None:
    """Token classification needs every token."""
    training = json.loads((saved / "training.json").read_text())
    (saved / "training.json").write_text(json.dumps(training | {"task": "token_classification"}))
    assert refusal(saved).endswith(
        "its head reads one vector a text, and token_classification needs every token; train again"
    )


def test_optimum_is_refused(saved: Path) -> None:
    """It would build the architecture's own head, with random weights."""
    with pytest.raises(UserError, match="--converter optimum knows no pooled head; use --converter torch"):
        plain_config(saved / "config.json")
