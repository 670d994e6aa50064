"""Heads that read a pooled vector: what they compute, how they are saved, trained and chosen."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModel

from bertwire_core.errors import UserError
from bertwire_core.pooled import PooledClassifier, load_pooled
from bertwire_core.pooling import KEY, Pooled, Pooling
from bertwire_core.tasks import Task
from bertwire_trainer.base import find_base
from bertwire_trainer.linear import fit_linear
from bertwire_trainer.loading import load_encoder
from bertwire_trainer.record import PoolingRecord, TrainingRecord
from graphs import random_batch, tiny_model, tiny_pooled
from rows import numbered, paired, several, tagged, write

Run = Callable[..., Path]
TOKENS: list[Pooled] = ["first", "mean", "max"]
POOLINGS = [
    Pooling(tokens, pooler, normalize) for tokens in TOKENS for pooler in (False, True) for normalize in (False, True)
]
FAMILIES = ["albert", "distilbert", "electra", "modernbert", "mpnet", "roberta"]
# Every pooling of one family, and every family with the pooling that has most parts.
CASES = [("bert", each) for each in POOLINGS] + [(each, Pooling("mean", True, True)) for each in FAMILIES]


def classifier(family: str, pooling: Pooling) -> PooledClassifier:
    return tiny_pooled(family, pooling, pad_token_id=1)


def padded(lengths: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask of a batch, padded with tokens that must count for nothing."""
    texts = random_batch(lengths)
    ids = torch.tensor([text.ids + [1] * (max(lengths) - len(text.ids)) for text in texts])
    return ids, torch.tensor([[1] * length + [0] * (max(lengths) - length) for length in lengths])


def by_hand(model: PooledClassifier, ids: torch.Tensor) -> torch.Tensor:
    """The logits of one text without padding, from its definition."""
    pooling, vectors = model.pooling, cast(torch.Tensor, model.base_model(ids[None]).last_hidden_state[0])
    found = {"first": vectors[0], "mean": vectors.mean(dim=0), "max": vectors.max(dim=0).values}[pooling.tokens]
    if pooling.pooler:
        assert model.pooler is not None
        found = torch.tanh(model.pooler.weight @ found + model.pooler.bias)
    if pooling.normalize:
        found = found / found.norm()
    return model.head.weight @ found + model.head.bias


@pytest.mark.parametrize(("family", "pooling"), CASES, ids=str)
def test_reads_exactly_the_tokens_of_a_text(family: str, pooling: Pooling) -> None:
    """In a padded batch each text has the logits that its own tokens give by the definition."""
    model, lengths = classifier(family, pooling), [3, 17, 1, 9]
    ids, mask = padded(lengths)
    with torch.inference_mode():
        found = model(ids, mask).logits
        expected = [by_hand(model, row[:length]) for row, length in zip(ids, lengths, strict=True)]
    torch.testing.assert_close(found, torch.stack(expected), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("family", "pooling"), CASES, ids=str)
def test_saved_and_loaded_gives_the_same_logits(tmp_path: Path, family: str, pooling: Pooling) -> None:
    """The folder has the pooling under one key, and transformers reads its encoder."""
    model = classifier(family, pooling)
    model.save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config[KEY] == {"tokens": pooling.tokens, "pooler": pooling.pooler, "normalize": pooling.normalize}
    loaded = load_pooled(tmp_path, "eager")
    assert loaded is not None
    ids, mask = padded([4, 9])
    with torch.inference_mode():
        assert torch.equal(loaded(ids, mask).logits, model(ids, mask).logits)
        alone = AutoModel.from_pretrained(tmp_path, attn_implementation="eager").eval()
        assert torch.equal(alone(ids, attention_mask=mask)[0], model.encode(ids, mask))
    # The encoder's own pooler, which nothing reads, is not in the file.
    stored = [name for name in load_file(tmp_path / "model.safetensors") if "pooler" in name]
    assert stored == (["pooler.bias", "pooler.weight"] if pooling.pooler else [])


def test_built_from_an_encoder_and_a_linear_layer(tmp_path: Path) -> None:
    """A weight and a bias found elsewhere become a checkpoint whose logits are theirs."""
    model = classifier("bert", Pooling("mean", normalize=True))
    weight, bias = torch.randn(3, 32), torch.randn(3)
    model.set_head(weight, bias)
    model.save(tmp_path)
    loaded = load_pooled(tmp_path, "eager")
    assert loaded is not None
    ids, mask = padded([4, 9])
    with torch.inference_mode():
        read = model.read(model.encode(ids, mask), mask)
        torch.testing.assert_close(read.norm(dim=-1), torch.ones(2))
        torch.testing.assert_close(loaded(ids, mask).logits, read @ weight.T + bias)


def test_pooler_of_the_encoder_is_kept() -> None:
    """Where the encoder has a pretrained pooler, the new one starts from it."""
    base: Any = tiny_model("bert").base_model
    weight = base.pooler.dense.weight.clone()
    model = PooledClassifier(base, Pooling("mean", pooler=True))
    assert model.pooler is not None
    assert torch.equal(model.pooler.weight, weight)


def test_head_of_the_architecture_is_no_pooled_one(tmp_path: Path) -> None:
    """A checkpoint that says nothing of a pooling is left to transformers."""
    tiny_model("bert").save_pretrained(tmp_path)
    assert load_pooled(tmp_path) is None


@pytest.mark.parametrize(
    "value",
    [
        "mean",
        {"tokens": "median", "pooler": False, "normalize": False},
        {"tokens": "mean", "pooler": False},
        {"tokens": "mean", "pooler": 1, "normalize": False},
        {"tokens": ["mean"], "pooler": False, "normalize": False},
        {"tokens": "mean", "pooler": False, "normalize": False, "layer": 1},
    ],
)
def test_pooling_that_says_nothing(tmp_path: Path, value: object) -> None:
    """A field of another form is one line, which says what it must be."""
    classifier("bert", Pooling("mean")).save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {KEY: value}))
    with pytest.raises(UserError, match=rf"its config.json has {KEY} .*; it must be an object with tokens"):
        load_pooled(tmp_path)


@pytest.fixture
def trained(run: Run, tmp_path: Path) -> Callable[..., Path]:
    """Trains on 48 rows of a kind, with dev of 16."""

    def start(row: Callable[[int], dict[str, Any]], **options: Any) -> Path:  # noqa: ANN401 - any option
        files = {
            name: write(tmp_path / f"{row.__name__}-{name}.jsonl", row, numbers)
            for name, numbers in (("train", range(48)), ("dev", range(48, 64)), ("test", range(64, 80)))
        }
        return run(**(files | {"epochs": 8, "learning_rate": 5e-3} | options))

    return start


def record(output: Path) -> TrainingRecord:
    return TrainingRecord.model_validate_json((output / "training.json").read_bytes())


@pytest.mark.parametrize(
    ("row", "options"),
    [
        (several, {"pooling": "mean", "learning_rate": 1e-2}),
        (numbered, {"pooling": "mean", "pooler": True}),
        (paired, {"pooling": "max", "normalize": True, "learning_rate": 1e-2}),
        (paired, {"pooling": "first", "method": "lora", "learning_rate": 2e-2}),
    ],
)
def test_every_task_per_text_is_learnt(
    trained: Callable[..., Path], row: Callable[[int], dict[str, Any]], options: dict[str, Any]
) -> None:
    """The published checkpoint has the pooling, and predicts what there is to learn, with pairs and with LoRA too."""
    output = trained(row, **options)
    found, model = record(output), load_pooled(output)
    assert model is not None
    assert found.pooling == PoolingRecord(
        tokens=options["pooling"], pooler=options.get("pooler", False), normalize=options.get("normalize", False)
    )
    assert model.pooling.field() == found.pooling.model_dump(exclude={"tried"})
    assert next(iter(found.metrics["test"].values())) > 0.9


def test_no_pooling_is_as_before(run: Run) -> None:
    """By default config.json has no pooling, and the head is the architecture's own."""
    output = run()
    config = json.loads((output / "config.json").read_text())
    assert KEY not in config
    assert config["architectures"] == ["BertForSequenceClassification"]
    assert record(output).pooling is None


def test_pooling_of_the_base_is_not_inherited(run: Run, tmp_path: Path) -> None:
    """A pooled checkpoint is a base like any other: its encoder goes on, and its pooling does not."""
    pooled = run(pooling="mean", output=tmp_path / "pooled")
    output = run(model=str(pooled), output=tmp_path / "own", epochs=1)
    assert KEY not in json.loads((output / "config.json").read_text())
    again = run(model=str(pooled), pooling="max", output=tmp_path / "again", epochs=1, learning_rate=1e-9)
    before, after = (load_file(folder / "model.safetensors") for folder in (pooled, again))
    assert {name for name in before if not torch.allclose(before[name], after[name], atol=1e-6)} <= {
        "head.weight",
        "head.bias",
    }


def test_auto_chooses_by_dev(trained: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    """The pooling with the best score is taken; all scores are printed and recorded."""
    output = trained(numbered, pooling="auto", epochs=1)
    found = record(output).pooling
    assert found is not None
    assert list(found.tried) == TOKENS
    assert found.tokens == max(TOKENS, key=found.tried.__getitem__)
    shown = ", ".join(f"{name} {score:.4f}" for name, score in found.tried.items())
    assert f"--pooling {found.tokens}: Pearson of a linear layer on dev: {shown}" in capsys.readouterr().err
    model = load_pooled(output)
    assert model is not None
    assert model.pooling.tokens == found.tokens


def test_resumed_is_as_uninterrupted(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in the second epoch, then --resume, chooses the same pooling and gives the same weights."""
    from bertwire_trainer.loop.progress import EpochBars

    options: dict[str, Any] = {"pooling": "auto", "epochs": 3}
    whole = run(output=tmp_path / "whole", **options)

    def press(_: EpochBars, __: object, state: Any, *___: object, **____: object) -> None:  # noqa: ANN401
        if state.global_step == 9:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(EpochBars, "on_step_end", press)
        with pytest.raises(KeyboardInterrupt):
            run(**options)
    resumed = load_file(run(resume=True, **options) / "model.safetensors")
    for name, tensor in load_file(whole / "model.safetensors").items():
        torch.testing.assert_close(resumed[name], tensor, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("row", "options", "message"),
    [
        (tagged, {"pooling": "mean"}, r"^--pooling is for whole texts; token_classification reads every token$"),
        (paired, {"pooling": "own", "normalize": True}, "--pooler and --normalize are not for --pooling own"),
        (paired, {"pooling": "own", "method": "frozen"}, "--method frozen puts a linear layer on a pooled vector"),
    ],
)
def test_options_that_do_not_apply(
    trained: Callable[..., Path], row: Callable[[int], dict[str, Any]], options: dict[str, Any], message: str
) -> None:
    """They are refused in one line."""
    with pytest.raises((UserError, ValueError), match=message):
        trained(row, **options)


def test_damaged_encoder_is_refused(tiny: Path, tmp_path: Path) -> None:
    """An encoder whose weights lack a layer is not filled up with random ones."""
    copy = Path(shutil.copytree(tiny, tmp_path / "copy"))
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}))
    with pytest.raises(UserError, match=r"lack 16 tensors of the encoder, the first encoder\.layer\.2\."):
        load_encoder(find_base(str(copy)), "single_label", ["a", "b"], Pooling("mean"))


@pytest.mark.parametrize("task", ["single_label", "multi_label", "regression"])
def test_linear_layer_is_fitted(task: Task) -> None:
    """On vectors of any scale and offset it finds what the targets were made with, for each task."""
    generator, scales = numpy.random.default_rng(0), 10.0 ** numpy.arange(-4, 4)
    plain = generator.normal(size=(400, 8))
    logits = plain @ generator.normal(size=(8, 1 if task == "regression" else 3))
    made = {"single_label": logits.argmax(axis=1), "multi_label": (logits > 0).astype(int), "regression": logits}
    vectors = (plain * scales + 3).astype(numpy.float32)
    weight, bias = fit_linear(vectors, made[task], task, logits.shape[1])
    assert (weight.shape, bias.shape) == ((logits.shape[1], 8), (logits.shape[1],))
    found = vectors @ weight.T + bias
    if task == "regression":
        assert numpy.corrcoef(found[:, 0], logits[:, 0])[0, 1] > 0.999
    else:
        right = found.argmax(axis=1) == made[task] if task == "single_label" else (found > 0) == made[task]
        assert right.mean() > 0.95


def test_config_says_the_pooling(tmp_path: Path) -> None:
    """The loader of configurations that transformers has keeps the field, so that other tools see it."""
    classifier("bert", Pooling("mean")).save(tmp_path)
    assert getattr(AutoConfig.from_pretrained(tmp_path), KEY)["tokens"] == "mean"
