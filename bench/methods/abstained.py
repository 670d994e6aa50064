"""Detectors of texts that belong to no label, compared by AUROC.

Two questions: test texts of the labels against texts of other sets, and against test texts of labels that were left out
of training. Run it with `python -m bench.methods.abstained FOLDER --other FILE --other FILE`, where FOLDER has
train.jsonl, dev.jsonl and test.jsonl of one label a text. The model is a linear layer on the frozen vectors of MiniLM,
for each seed with other labels left out; or with `--checkpoint DIR` one that was trained on rows of FOLDER without some
labels.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING

import numpy
import torch
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from scipy.special import logsumexp, softmax
from sklearn.covariance import ledoit_wolf
from sklearn.metrics import roc_auc_score

from bench.machine import machine
from bertwire_core.console import out
from bertwire_core.errors import UserError
from bertwire_core.pooled import PooledClassifier
from bertwire_core.pooling import Pooling
from bertwire_core.process import readable
from bertwire_core.scope import cosines, entropies, scopes
from bertwire_data.labelled import Columns, Labelled, read_labelled
from bertwire_trainer.base import find_base
from bertwire_trainer.centroids import find_centroids, weigh_entropy
from bertwire_trainer.cosine import class_means
from bertwire_trainer.linear import fit_linear
from bertwire_trainer.loading import load_encoder
from bertwire_trainer.predict import embed
from bertwire_trainer.quiet import quiet_libraries
from bertwire_trainer.tokenizer import load_tokenizer
from bertwire_trainer.tokens import tokenize
from bertwire_trainer.trained import load_trained, read_record

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Floats = NDArray[numpy.floating]
Vectors = NDArray[numpy.float32]
Ints = NDArray[numpy.integer]
# Texts of another set that are read at most; with fewer AUROC varies by chance.
_MOST_OTHER = 2000


@dataclass(frozen=True)
class Points:
    """Texts as the model sees them: vectors [texts, hidden] and logits [texts, labels]."""

    vectors: Vectors
    logits: Vectors


@dataclass(frozen=True)
class Known:
    """What a detector is made of: vectors of train with their labels, int64 [texts], and dev."""

    train: Vectors
    targets: Ints
    dev: Points


Score = Callable[[Points], Floats]


def _relative(known: Known) -> Score:
    """Return a detector by the Mahalanobis distance to the nearest label less that to all texts as one label."""
    classes, one = _distances(known.train, known.targets), _distances(known.train, numpy.zeros_like(known.targets))
    return lambda texts: one(texts.vectors) - classes(texts.vectors)


def _distances(train: Floats, targets: Ints) -> Callable[[Floats], Floats]:
    """Return what gives the least squared distance to a mean, shared covariance with shrinkage, [points]."""
    means = numpy.stack([train[targets == each].mean(axis=0) for each in numpy.unique(targets)])
    covariance, _ = ledoit_wolf(train - means[targets], assume_centered=True)
    whiten = numpy.linalg.cholesky(numpy.linalg.pinv(covariance))
    return lambda points: cdist(points @ whiten, means @ whiten, "sqeuclidean").min(axis=1)


def _class_mean(known: Known) -> Score:
    means = class_means(known.train, known.targets, int(known.targets.max()) + 1)
    return lambda texts: cosines(texts.vectors, means)


def _centroids(most: int, share: float = 0.0) -> Callable[[Known], Score]:
    """Return a detector by the cosine to the nearest of `most` centroids of each label, and a share of the entropy."""

    def fit(known: Known) -> Score:
        centroids = find_centroids(known.train, known.targets, 0, most)
        near, entropy = cosines(known.dev.vectors, centroids), entropies(known.dev.logits)
        weight = weigh_entropy(near, entropy, share)
        return lambda texts: scopes(texts.logits, texts.vectors, centroids, weight)

    return fit


DETECTORS: dict[str, Callable[[Known], Score]] = {
    "largest softmax": lambda _: lambda texts: softmax(texts.logits, axis=1).max(axis=1),
    "energy": lambda _: lambda texts: logsumexp(texts.logits, axis=1),
    "relative Mahalanobis": _relative,
    "cosine to class means": _class_mean,
    "4 centroids": _centroids(4),
    "4 centroids, 0.25 entropy": _centroids(4, 0.25),
    "4 centroids, 0.5 entropy": _centroids(4, 0.5),
    "8 centroids, 0.25 entropy": _centroids(8, 0.25),
}


class Texts:
    """Vectors of the rows of train, dev and test and of other sets."""

    def __init__(
        self, folder: Path, others: Sequence[Path], model: PooledClassifier, tokenizer: "PreTrainedTokenizerBase"
    ) -> None:
        self._model, self._tokenizer = model, tokenizer
        rows = {name: read_labelled(folder / f"{name}.jsonl", Columns()) for name in ("train", "dev", "test")}
        self.names = {name: list(each.names()) for name, each in rows.items()}
        self.vectors = {name: self._embed(each) for name, each in rows.items()}
        self.others = {path.parent.name: self._embed(_inputs(path)) for path in others}

    def _embed(self, rows: Labelled) -> Vectors:
        tokens = tokenize(self._model, self._tokenizer, rows, numpy.zeros(len(rows), numpy.int64))
        return embed(self._model, self._tokenizer, tokens, rows.source)[0]


def _inputs(path: Path) -> Labelled:
    rows = read_labelled(path, Columns())
    inputs = [each if isinstance(each, str) else " ".join(each) for each in rows.inputs[:_MOST_OTHER]]
    return Labelled(rows.source, "single_label", inputs, ["none"] * len(inputs), rows.rows[: len(inputs)])


def compare(
    texts: Texts, known: Sequence[str], head: tuple[Vectors, Vectors] | None = None
) -> dict[str, dict[str, float]]:
    """Return the AUROC of each detector against each other set and against the labels left out.

    Args:
        texts: the vectors.
        known: the labels of the model, in the order of its logits.
        head: its weight and bias; None: fitted on train.
    """
    places = {label: place for place, label in enumerate(known)}
    labels = {split: numpy.array([places.get(each, -1) for each in names]) for split, names in texts.names.items()}
    vectors = {split: each[labels[split] >= 0] for split, each in texts.vectors.items()}
    targets = labels["train"][labels["train"] >= 0]
    weight, bias = head or fit_linear(vectors["train"], targets, "single_label", len(known))

    def points(given: Vectors) -> Points:
        return Points(given, given @ weight.T + bias)

    outside = {name: points(each) for name, each in texts.others.items()}
    if (left := texts.vectors["test"][labels["test"] < 0]).size:
        outside["left out"] = points(left)
    of_known, inside = Known(vectors["train"], targets, points(vectors["dev"])), points(vectors["test"])
    found = {}
    for name, fit in DETECTORS.items():
        score = fit(of_known)
        found[name] = {other: _auroc(score(inside), score(each)) for other, each in outside.items()}
    return found


def _auroc(inside: Floats, outside: Floats) -> float:
    is_inside = numpy.repeat([1, 0], [len(inside), len(outside)])
    return float(roc_auc_score(is_inside, numpy.concatenate([inside, outside])))


def _frozen(folder: Path, others: Sequence[Path], left_out: int, seeds: int) -> list[dict[str, dict[str, float]]]:
    base = find_base("minilm")
    model = load_encoder(base, "single_label", ["a", "b"], Pooling("mean"))
    tokenizer = load_tokenizer(base, "single_label", "right")
    tokenizer.model_max_length = 128
    texts = Texts(folder, others, model.eval(), tokenizer)
    labels = sorted(set(texts.names["train"]))
    drawn = [numpy.random.default_rng(seed).permutation(labels)[left_out:] for seed in range(seeds)]
    return [compare(texts, sorted(each.tolist())) for each in drawn]


def _trained(folder: Path, others: Sequence[Path], checkpoint: Path) -> list[dict[str, dict[str, float]]]:
    record = read_record(checkpoint)
    model, tokenizer = load_trained(checkpoint, record)
    if not isinstance(model, PooledClassifier):
        raise UserError(f"{checkpoint} has no pooled vector; train it without --pooling own")
    head = model.head.weight.detach().cpu().numpy(), model.head.bias.detach().cpu().numpy()
    return [compare(Texts(folder, others, model, tokenizer), record.labels, head)]


def main() -> None:
    """Compare the detectors, print the means over seeds and write them."""
    parser = argparse.ArgumentParser(prog="bench.methods.abstained", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--other", type=Path, action="append", default=[], help="rows of another set")
    parser.add_argument("--checkpoint", type=Path, help="trained on rows without the labels left out")
    parser.add_argument("--left-out", type=int, default=19, help="labels left out of training, without --checkpoint")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path("bench/results/abstained.json"))
    arguments = parser.parse_args()
    with readable("bench"):
        quiet_libraries()
        torch.manual_seed(0)
        if arguments.checkpoint is None:
            runs = _frozen(arguments.folder, arguments.other, arguments.left_out, arguments.seeds)
        else:
            runs = _trained(arguments.folder, arguments.other, arguments.checkpoint)
        table = {
            name: {other: round(mean(run[name][other] for run in runs), 4) for other in each}
            for name, each in runs[0].items()
        }
        document = {
            "data": arguments.folder.name,
            "model": "frozen" if arguments.checkpoint is None else arguments.checkpoint.name,
            "runs": len(runs),
            "auroc": table,
            "machine": machine(),
        }
        arguments.output.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        out.print_json(data=table)


if __name__ == "__main__":
    main()
