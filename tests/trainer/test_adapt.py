"""Adaptation: what the encoder learns from texts without labels, and how it goes on after an interruption."""

import json
import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForMaskedLM, AutoModelForSequenceClassification, AutoTokenizer

from bertwire_core.errors import UserError
from bertwire_trainer.config import TrainConfig
from bertwire_trainer.loop.progress import EpochBars
from bertwire_trainer.method import Job
from bertwire_trainer.methods.full import Full
from bertwire_trainer.prepare import prepare
from bertwire_trainer.record import TrainingRecord

Run = Callable[..., Path]
Rows = list[tuple[str, str]]
WriteRows = Callable[[str, Rows], Path]
Separable = Callable[..., Rows]
Weights = dict[str, torch.Tensor]


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """64 texts in which w10 follows w20 and the other way round."""
    generator = random.Random(0)  # noqa: S311 - test data
    path = tmp_path / "domain.txt"
    lines = (" ".join(["w10 w20"] * generator.randint(1, 3) + [f"w{number}"]) for number in range(64))
    path.write_text("\n".join(lines))
    return path


@pytest.fixture
def adapted(run: Run, texts: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Weights]:
    """The encoder's weights that a run with given options hands to its method; it ends there."""

    def start(**options: Any) -> Weights:  # noqa: ANN401 - any option of the command
        found: list[Weights] = []

        def fit(_: Full, job: Job, __: object) -> None:
            assert {weight.device.type for weight in job.model.parameters()} == {"cpu"}
            found.append({name: each.clone() for name, each in job.model.base_model.state_dict().items()})
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(Full, "fit", fit)
            with pytest.raises(KeyboardInterrupt):
                run(**({"adapt": [texts], "adapt_batch_size": 8, "overwrite": True, "max_length": 8} | options))
        return found[0]

    return start


def record(output: Path) -> TrainingRecord:
    return TrainingRecord.model_validate_json((output / "training.json").read_bytes())


def masked_loss(base: Path, encoder: Weights, text: str, word: str) -> float:
    """How unlikely a head with an encoder's weights finds a word at its mask."""
    model, tokenizer = AutoModelForMaskedLM.from_pretrained(base), AutoTokenizer.from_pretrained(base)
    model.base_model.load_state_dict(encoder, strict=False)
    encoded = tokenizer(text, return_tensors="pt")
    with torch.inference_mode():
        logits = model.eval()(**encoded).logits[encoded["input_ids"] == tokenizer.mask_token_id][0]
    return -float(logits.log_softmax(-1)[tokenizer.convert_tokens_to_ids(word)])


def test_masked_language_modelling(
    adapted: Callable[..., Weights], tiny_masked: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the head the encoder learns which words belong together; it says which objective and why."""
    options = {"model": str(tiny_masked), "adapt_epochs": 8, "adapt_learning_rate": 3e-3}
    after = adapted(**options)
    shown = capsys.readouterr().err
    assert "adapt: masked language modelling, for tiny-masked has the head for it" in shown
    assert re.search(r"adapt epoch 8/8 100% \S+ loss \d\.\d+, rate \d", shown)
    before = AutoModelForMaskedLM.from_pretrained(tiny_masked).base_model.state_dict()
    losses = [masked_loss(tiny_masked, each, "w10 [MASK] w3", "w20") for each in (before, after)]
    assert losses[1] < losses[0] / 2


def test_simcse(adapted: Callable[..., Weights], tiny: Path, texts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without the head texts move apart; it says which objective and why."""
    model, tokenizer = (each.from_pretrained(tiny) for each in (AutoModelForSequenceClassification, AutoTokenizer))

    def alike(encoder: Weights) -> float:
        model.base_model.load_state_dict(encoder)
        batch = tokenizer(texts.read_text().splitlines(), padding=True, return_tensors="pt")
        with torch.inference_mode():
            tokens = model.eval().base_model(**batch).last_hidden_state
        weights = batch["attention_mask"][..., None]
        means = torch.nn.functional.normalize((tokens * weights).sum(1) / weights.sum(1), dim=-1)
        return float((means @ means.T).mean())

    before = alike(model.base_model.state_dict())
    after = alike(adapted(adapt_epochs=4, adapt_learning_rate=1e-3))
    assert "adapt: SimCSE, for tiny-bert has no masked-language-modelling head" in capsys.readouterr().err
    assert after < before


@pytest.mark.parametrize("base", ["tiny", "tiny_masked"])
@pytest.mark.parametrize("step", [4, 12, None], ids=["first epoch", "second epoch", "after it"])
def test_interrupted(
    run: Run,
    texts: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    base: str,
    step: int | None,
) -> None:
    """Ctrl-C within or after adaptation, then --resume, gives the weights of an uninterrupted run."""
    model = str(request.getfixturevalue(base))
    options = {"model": model, "adapt": [texts], "adapt_batch_size": 8, "adapt_epochs": 2}
    whole = run(output=tmp_path / "whole", **options)

    def press(_: EpochBars, __: object, state: Any, *___: object, **____: object) -> None:  # noqa: ANN401
        if step is not None and state.global_step == step and state.max_steps == 16:
            raise KeyboardInterrupt

    def refuse(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(EpochBars, "on_step_end", press)
        if step is None:
            patch.setattr(Full, "fit", refuse)
        with pytest.raises(KeyboardInterrupt):
            run(**options)
    assert not (tmp_path / "out").exists()
    resumed = run(resume=True, **options)
    one, other = (load_file(output / "model.safetensors") for output in (whole, resumed))
    assert max(float((one[name] - other[name]).abs().max()) for name in one) < 1e-6
    assert record(whole).stages == record(resumed).stages


def test_finished_adaptation_is_not_repeated(
    adapted: Callable[..., Weights], capsys: pytest.CaptureFixture[str]
) -> None:
    """A run that was interrupted after adaptation says how it goes on, and does not adapt again."""
    first = adapted()
    assert "repeat the command with --resume" in capsys.readouterr().err
    again = adapted(resume=True, overwrite=False)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert "adapt epoch" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "option", [{"adapt_epochs": 2}, {"adapt_batch_size": 16}, {"adapt_learning_rate": 1e-3}, {"seed": 1}]
)
def test_options_shape_the_result(adapted: Callable[..., Weights], option: dict[str, Any]) -> None:
    """Every option changes the weights; the same options give the same weights."""
    plain, again, other = (adapted(**each) for each in ({}, {}, option))
    assert all(torch.equal(plain[name], again[name]) for name in plain)
    assert not all(torch.equal(plain[name], other[name]) for name in plain)


@pytest.mark.parametrize(
    ("family", "settings"),
    [
        ("albert", {"embedding_size": 16}),
        ("deberta-v2", {"relative_attention": True, "pos_att_type": ["p2c", "c2p"]}),
        ("distilbert", {"hidden_dim": 64, "dim": 32, "n_heads": 4, "n_layers": 2}),
        ("modernbert", {"pad_token_id": 0}),
        ("roberta", {"pad_token_id": 0}),
    ],
)
def test_families(run: Run, texts: Path, tiny: Path, tmp_path: Path, family: str, settings: dict[str, Any]) -> None:
    """Encoders of other families adapt by their own heads, and are published."""
    base = Path(shutil.copytree(tiny, tmp_path / family))
    sizes = {"vocab_size": 97, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = AutoConfig.for_model(family, **(sizes | {"intermediate_size": 64} | settings))
    AutoModelForMaskedLM.from_config(config).save_pretrained(base)
    found = record(run(model=str(base), epochs=1, adapt=[texts])).stages["adapt"]
    assert found["objective"] == "masked language modelling"


def test_short_texts_one_at_a_time(adapted: Callable[..., Weights], tiny_masked: Path, texts: Path) -> None:
    """Batches in which no token is masked leave the weights numbers."""
    texts.write_text("\n".join(f"w{number}" for number in range(40)))
    after = adapted(model=str(tiny_masked), adapt_batch_size=2)
    assert all(weight.isfinite().all() for weight in after.values())


def test_long_texts_are_read_to_their_end(run: Run, texts: Path) -> None:
    """A text beyond --max-length is read in pieces."""
    texts.write_text("\n".join(" ".join(f"w{(number + place) % 90}" for place in range(20)) for number in range(8)))
    assert record(run(adapt=[texts], epochs=1, max_length=7)).stages["adapt"]["pieces"] == 8 * 4


def test_recorded(
    run: Run, texts: Path, write_rows: WriteRows, separable: Separable, capsys: pytest.CaptureFixture[str]
) -> None:
    """training.json has the files, options, texts and what was done, and no path; texts of test are told."""
    test = write_rows("test.jsonl", separable(12, 200))
    output = run(adapt=[texts, test], test=test, adapt_epochs=2, epochs=1)
    found = record(output).stages["adapt"]
    assert found["adapt"] == ["domain.txt", "test.jsonl"]
    assert (found["adapt_epochs"], found["texts"], found["pieces"]) == (2, 76, 76)
    assert found["objective"] == "SimCSE"
    assert found["loss"] > 0
    assert str(texts.parent) not in (output / "training.json").read_text()
    assert "adapt: 12 of the 76 texts are also in test; they are read without their labels" in capsys.readouterr().err


def test_no_dropout(run: Run, tiny: Path, texts: Path, tmp_path: Path) -> None:
    """SimCSE on an encoder without dropout, which would learn nothing, is refused."""
    base = Path(shutil.copytree(tiny, tmp_path / "dry"))
    config = json.loads((base / "config.json").read_text())
    dry = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (base / "config.json").write_text(json.dumps(config | dry))
    with pytest.raises(UserError, match=r"^--adapt: dry has no masked-.* has no dropout, which SimCSE needs"):
        run(model=str(base), adapt=[texts])


def test_diverged(run: Run, tiny_masked: Path, texts: Path) -> None:
    """Weights that are not finite are refused with what to lower."""
    with pytest.raises(UserError, match=r"^--adapt diverged: .*; lower --adapt-learning-rate"):
        run(model=str(tiny_masked), adapt=[texts], adapt_learning_rate=1e38, adapt_epochs=2)


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("a\na\n", {}, "^--adapt needs two different texts at least$"),
        ("a\nb\n", {"adapt": [], "adapt_epochs": 2}, "^--adapt-epochs needs --adapt$"),
        ("a\nb\n", {"adapt": [Path("absent.txt")]}, "absent.txt: no such file"),
    ],
)
def test_faulty_options(
    write_rows: WriteRows, separable: Separable, texts: Path, content: str, options: dict[str, Any], message: str
) -> None:
    """Faults are one line before PyTorch is loaded."""
    texts.write_text(content)
    train = write_rows("train.jsonl", separable(24))
    with pytest.raises(UserError, match=message):
        prepare(TrainConfig(**({"train": train, "output": train.with_name("out"), "adapt": [texts]} | options)))


def test_minilm(run: Run, tmp_path: Path) -> None:
    """The installed MiniLM adapts to 64 lines by SimCSE, trains, and loads as a plain checkpoint."""
    lines = tmp_path / "lines.txt"
    subjects, verbs = (
        ("the parcel", "my order", "a refund", "the invoice"),
        ("is late", "has come", "was lost", "is mine"),
    )
    lines.write_text("\n".join(f"{one} {two}, case {n}" for one in subjects for two in verbs for n in range(4)))
    output = run(model="minilm", adapt=[lines], epochs=1, learning_rate=1e-4)
    found = record(output).stages["adapt"]
    assert (found["objective"], found["texts"]) == ("SimCSE", 64)
    model, report = AutoModelForSequenceClassification.from_pretrained(output, output_loading_info=True)
    assert not any(report.values())
    assert model.config.num_labels == 2
