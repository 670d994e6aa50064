"""The options of the loop against over-fitting: what each does to the steps, and to the weights that are kept."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import BertForSequenceClassification, TrainerState

from bertwire_core.errors import UserError
from bertwire_trainer.loop.adversary import Adversary
from bertwire_trainer.loop.averages import mean
from bertwire_trainer.loop.dropout import set_dropout
from bertwire_trainer.loop.kept import Kept
from bertwire_trainer.loop.layers import Unfreezing, depths, rates
from bertwire_trainer.loop.loss import divergence, make_loss
from bertwire_trainer.loop.progress import EpochBars
from bertwire_trainer.loop.soup import train_seeds
from bertwire_trainer.loop.trainer import run_epochs
from bertwire_trainer.method import Fitted, Job
from bertwire_trainer.methods import METHODS
from bertwire_trainer.methods.full import FullOptions
from bertwire_trainer.record import TrainingRecord
from graphs import tiny_model
from rows import ROWS, write

Run = Callable[..., Path]
SPLITS = {"train": (0, 40), "dev": (40, 60)}
FAMILIES = [
    ("albert", {}),
    ("deberta-v2", {"relative_attention": True, "pos_att_type": ["p2c", "c2p"]}),
    ("distilbert", {}),
    ("modernbert", {"pad_token_id": 0}),
    ("roberta", {"pad_token_id": 0}),
]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def differ(one: Path, other: Path) -> bool:
    second = weights(other)
    return any(not torch.equal(tensor, second[name]) for name, tensor in weights(one).items())


def record(output: Path) -> TrainingRecord:
    return TrainingRecord.model_validate_json((output / "training.json").read_bytes())


@pytest.mark.parametrize(
    "option",
    [
        {"dropout": 0.5},
        {"r_drop": 1.0},
        {"fgm": 1.0},
        {"layer_decay": 0.5},
        {"unfreeze_epochs": 1},
        {"seeds": 2},
        {"average_epochs": 2, "epochs": 3},
    ],
    ids=lambda option: next(iter(option)),
)
@pytest.mark.parametrize("kind", [kind for kind in ROWS if kind != "pairs"])
def test_every_task(run: Run, tmp_path: Path, option: dict[str, Any], kind: str) -> None:
    """Each option trains each task to a checkpoint, and is recorded."""
    files = {name: write(tmp_path / f"{name}.jsonl", ROWS[kind], range(*rows)) for name, rows in SPLITS.items()}
    found = record(run(**({"epochs": 1, **files} | option)))
    assert found.recipe | option == found.recipe


@pytest.mark.parametrize(
    "option",
    [{"dropout": 0.5}, {"r_drop": 1.0}, {"fgm": 1.0}, {"layer_decay": 0.5}, {"unfreeze_epochs": 1}],
    ids=lambda option: next(iter(option)),
)
def test_options_shape_the_result(run: Run, tmp_path: Path, option: dict[str, Any]) -> None:
    """Each changes the weights, and gives the same ones again."""
    plain, one, again = (
        run(epochs=2, output=tmp_path / name, **given)
        for name, given in (("plain", {}), ("one", option), ("2", option))
    )
    assert differ(plain, one)
    assert not differ(one, again)


@pytest.mark.parametrize(("family", "settings"), [("bert", {}), *FAMILIES])
def test_dropout(family: str, settings: dict[str, Any]) -> None:
    """With 0 two training passes give the same answer, with more they do not, whatever the family names its layers."""
    model = tiny_model(family, **settings).train()
    ids = torch.arange(5, 25).view(2, 10)
    answers = {}
    for probability in (0.0, 0.3):
        set_dropout(model, probability)
        answers[probability] = [model(input_ids=ids).logits for _ in range(2)]
    assert torch.equal(*answers[0.0])
    assert not torch.equal(*answers[0.3])


@pytest.mark.parametrize(
    ("task", "family"),
    [
        ("single_label", lambda logits: torch.distributions.Categorical(logits=logits)),
        ("multi_label", lambda logits: torch.distributions.Bernoulli(logits=logits)),
        ("regression", lambda logits: torch.distributions.Normal(logits, 1.0)),
    ],
)
def test_divergence(task: Any, family: Callable[[torch.Tensor], torch.distributions.Distribution]) -> None:  # noqa: ANN401
    """R-Drop's divergence is the mean of both directions' KL divergences of what the logits stand for."""
    one, other = torch.tensor([[2.0, 0.0, -1.0], [0.5, 1.0, 0.0]]), torch.tensor([[1.0, 0.5, 0.0], [0.0, 0.0, 3.0]])
    targets = torch.zeros(2, 3) if task == "multi_label" else torch.zeros(2, dtype=torch.int64)
    kl = torch.distributions.kl_divergence
    first, second = family(one), family(other)
    expected = (kl(first, second).sum() + kl(second, first).sum()) / 2
    torch.testing.assert_close(divergence(task, one, other, targets), expected)


def test_divergence_leaves_out_what_has_no_target() -> None:
    """Tokens without a target do not count."""
    one, other = torch.zeros(1, 3, 2), torch.tensor([[[1.0, 0.0], [9.0, 0.0], [0.0, 9.0]]])
    alone = divergence("token_classification", one[:, :1], other[:, :1], torch.tensor([[0]]))
    torch.testing.assert_close(divergence("token_classification", one, other, torch.tensor([[0, -100, -100]])), alone)


def test_r_drop_of_equal_passes_is_the_plain_loss() -> None:
    """Where both passes agree, the loss is that of one; where they do not, it is higher by the divergence a text."""
    logits, targets = torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 0])
    plain = make_loss("single_label", None, 0.0)({"logits": logits}, targets)
    twice = make_loss("single_label", None, 0.0, r_drop=2.0)
    torch.testing.assert_close(twice({"logits": torch.cat([logits, logits])}, targets.repeat(2)), plain)
    other = logits.flip(0)
    both = torch.cat([logits, other])
    expected = torch.nn.functional.cross_entropy(both, targets.repeat(2))
    expected += 2 * divergence("single_label", logits, other, targets) / 2
    torch.testing.assert_close(twice({"logits": both}, targets.repeat(2)), expected)


def test_r_drop_without_dropout(run: Run, tiny: Path, tmp_path: Path) -> None:
    """Two equal passes teach nothing: refused, for the option and for a checkpoint that drops nothing."""
    with pytest.raises(UserError, match="--r-drop compares two dropout passes; raise --dropout above 0"):
        run(r_drop=1.0, dropout=0.0)
    base = Path(shutil.copytree(tiny, tmp_path / "base"))
    config = json.loads((base / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (base / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="this checkpoint has no dropout; set --dropout"):
        run(r_drop=1.0, model=str(base), overwrite=True)


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize(("family", "settings"), [("bert", {}), *FAMILIES])
def test_adversary_raises_the_loss(family: str, settings: dict[str, Any], frozen: bool) -> None:
    """The moved embeddings have a higher loss, whether the table learns or not; the next pass is as before."""
    model = tiny_model(family, **settings).eval()
    model.get_input_embeddings().requires_grad_(not frozen)
    adversary = Adversary(model.get_input_embeddings(), 0.1)
    ids, targets = torch.arange(5, 25).view(2, 10), torch.tensor([0, 2])

    def loss() -> torch.Tensor:
        return torch.nn.functional.cross_entropy(model(input_ids=ids).logits, targets)

    with adversary.watching():
        plain = loss()
        plain.backward()
    with adversary.attacking():
        attacked = loss()
    assert attacked > plain
    assert torch.equal(loss(), plain)


def test_rates_fall_with_depth(tiny: Path) -> None:
    """The head has the whole rate, each layer below a share of it, the embeddings the least."""
    model = BertForSequenceClassification.from_pretrained(tiny)
    found = rates(depths(model), 0.5)
    named = {name: found[weight] for name, weight in model.named_parameters()}
    assert {rate for name, rate in named.items() if ".layer.1." in name} == {0.5}
    assert {rate for name, rate in named.items() if ".layer.0." in name} == {0.25}
    assert {rate for name, rate in named.items() if ".embeddings." in name} == {0.125}
    assert {rate for name, rate in named.items() if "classifier" in name or ".pooler." in name} == {1.0}
    assert len(named) == len(found)


def test_layer_decay_slows_the_lower_layers(run: Run, tiny: Path) -> None:
    """With a tiny factor the encoder stays all but where it was, and the head learns."""
    before, after = weights(tiny), weights(run(layer_decay=1e-6))
    moved = {name: (after[f"bert.{name}"] - tensor).abs().max().item() for name, tensor in before.items()}
    assert max(value for name, value in moved.items() if "pooler" not in name) < 1e-6
    assert moved["pooler.dense.weight"] > 1e-4


def test_unfreezing(tiny: Path) -> None:
    """Over two epochs: the head alone, then the upper layer too, then all; all again when training ends."""
    model = BertForSequenceClassification.from_pretrained(tiny)
    unfreezing = Unfreezing(depths(model), 2)
    learning = []
    for epoch in range(3):
        unfreezing.on_epoch_begin(None, TrainerState(epoch=epoch), None)  # type: ignore[arg-type]
        learnt = [name for name, weight in model.named_parameters() if weight.requires_grad]
        learning.append([any(part in name for name in learnt) for part in ("classifier", ".1.", ".0.", "embeddings")])
    head, upper, everything = [True, False, False, False], [True, True, False, False], [True, True, True, True]
    assert learning == [head, upper, everything]
    unfreezing.on_epoch_begin(None, TrainerState(epoch=0), None)  # type: ignore[arg-type]
    unfreezing.on_train_end(None, TrainerState(), None)  # type: ignore[arg-type]
    assert all(weight.requires_grad for weight in model.parameters())


def test_frozen_layers_stay(run: Run, tiny: Path) -> None:
    """In the first epoch of gradual unfreezing the encoder does not move, and the head does."""
    before, after = weights(tiny), weights(run(epochs=1, unfreeze_epochs=2))
    changed = {name for name, tensor in before.items() if not torch.equal(after[f"bert.{name}"], tensor)}
    assert changed == {"pooler.dense.weight", "pooler.dense.bias"}


def test_mean_of_weights() -> None:
    """Floats are averaged; counters are not."""
    states = [
        {"w": torch.tensor([1.0, 2.0]), "n": torch.tensor(1)},
        {"w": torch.tensor([3.0, 6.0]), "n": torch.tensor(2)},
    ]
    result = mean(states)
    assert (result["w"].tolist(), result["n"].item()) == ([2.0, 4.0], 2)


def test_mean_of_epochs_is_kept_where_dev_says_so(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """Of the weights that were tried the best on dev are published, and named: sometimes the mean, sometimes not."""
    kept = set()
    for seed in range(10):
        # A rate so high that epochs are good and bad by chance.
        options = {"epochs": 4, "average_epochs": 3, "patience": 9, "learning_rate": 4e-2, "overwrite": True}
        found = record(run(seed=seed, **options))
        printed = capsys.readouterr()
        tried = r"^(epoch \d|mean of epochs 2 to 4): dev macro-F1 ([\d.]+), .*loss ([\d.]+)$"
        lines = re.findall(tried, printed.out, re.MULTILINE)
        assert len(lines) == 5
        name, score, loss = max(lines, key=lambda line: (float(line[1]), -float(line[2])))
        metrics = found.metrics["dev"]
        assert (float(score), float(loss)) == pytest.approx((metrics["macro_f1"], metrics["loss"]), abs=1e-4)
        assert found.weights == name
        assert f"kept {name}" in printed.err
        kept.add(name.startswith("mean"))
        if len(kept) == 2:
            return
    raise AssertionError(f"of ten runs {'all' if True in kept else 'none'} kept the mean")


@pytest.mark.parametrize(
    ("shifts", "kept"), [((5.0, -5.0), "mean of 2 seeds from 42 on"), ((5.0, 0.0), "stub of seed 43")]
)
def test_mean_of_seeds_is_kept_where_dev_says_so(
    run: Run, monkeypatch: pytest.MonkeyPatch, shifts: tuple[float, float], kept: str
) -> None:
    """Runs off to either side of a good model have it as their mean; a mean that is worse than one run is not kept."""

    def fit(job: Job, options: FullOptions) -> Fitted:
        run_epochs(job, options)
        bias = job.model.get_parameter("classifier.bias")

        def shift(one: Job) -> Kept:
            with torch.no_grad():
                bias[0] += shifts[one.seed - job.seed]
            return Kept("stub", 1, 0.0)

        result = train_seeds(job, 2, shift)
        return Fitted(job.model, job.tokenizer, result.epoch, result.weights)

    monkeypatch.setattr(METHODS["full"], "fit", fit)
    found = record(run(epochs=4, learning_rate=1e-2, seed=42))
    assert (found.weights, found.metrics["dev"]["accuracy"]) == (kept, 1.0)


def test_seeds_go_on_after_an_interruption(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in the second run, then --resume, gives the weights of an uninterrupted soup, and no epoch is repeated."""
    whole = weights(run(output=tmp_path / "whole", seeds=2))
    # Each run has 12 steps: this is in its second epoch.
    steps = iter(range(20))

    def press(*_: object, **__: object) -> None:
        if next(steps, None) is None:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(EpochBars, "on_step_end", press)
        with pytest.raises(KeyboardInterrupt):
            run(seeds=2)
    resumed = weights(run(seeds=2, resume=True))
    for name, tensor in whole.items():
        torch.testing.assert_close(resumed[name], tensor, atol=1e-6, rtol=0)


def test_off_by_default() -> None:
    """Without an option the loop does none of this."""
    options = FullOptions()
    assert (options.dropout, options.r_drop, options.fgm, options.layer_decay) == (None, 0.0, 0.0, 1.0)
    assert (options.average_epochs, options.seeds, options.unfreeze_epochs, options.label_smoothing) == (1, 1, 0, 0.0)
