"""Detectors of texts that belong to no class, compared by AUROC.

Two questions: test texts of the classes against texts of other sets, and against test texts of classes that were left
out of training. Run it with `python -m bench.methods.abstained FOLDER --other FILE --other FILE`, where FOLDER has
train.jsonl and test.jsonl of one label a text; each seed leaves other classes out. The model is a linear layer on the
frozen, mean-pooled vectors of MiniLM.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean

import numpy
import torch
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from scipy.special import softmax
from sklearn.covariance import ledoit_wolf
from sklearn.metrics import roc_auc_score

from bench.machine import machine
from bertwire_core.console import out
from bertwire_core.pooling import Pooling
from bertwire_core.process import readable
from bertwire_core.scope import scopes as energies
from bertwire_data.labelled import Columns, Labelled, read_labelled
from bertwire_trainer.base import find_base
from bertwire_trainer.linear import fit_linear
from bertwire_trainer.loading import load_encoder
from bertwire_trainer.predict import embed
from bertwire_trainer.quiet import quiet_libraries
from bertwire_trainer.tokenizer import load_tokenizer
from bertwire_trainer.tokens import tokenize

Floats = NDArray[numpy.floating]
Ints = NDArray[numpy.integer]
# AUROC against other sets, and how far above the largest softmax against classes left out.
BARS = {"other": 0.97, "gain": 0.03}
# Neighbours of the detectors by neighbours; halved or doubled, AUROC moves by less than 0.005.
_NEIGHBOURS = 10
# Texts of another set that are read at most; with fewer AUROC varies by chance.
_MOST_OTHER = 2000


def distances(train: Floats, targets: Ints, points: Floats) -> Floats:
    """Return the least squared Mahalanobis distance to a class mean, shared covariance with shrinkage, [points]."""
    means = numpy.stack([train[targets == each].mean(axis=0) for each in numpy.unique(targets)])
    covariance, _ = ledoit_wolf(train - means[targets], assume_centered=True)
    whiten = numpy.linalg.cholesky(numpy.linalg.pinv(covariance))
    found: Floats = cdist(points @ whiten, means @ whiten, "sqeuclidean").min(axis=1)
    return found


def relative(train: Floats, targets: Ints, points: Floats) -> Floats:
    """Return the distance to the nearest class less that to all texts as one class, [points]."""
    return distances(train, targets, points) - distances(train, numpy.zeros_like(targets), points)


def cosines(train: Floats, targets: Ints, points: Floats) -> Floats:
    """Return the largest cosine to a class mean, [points]."""
    means = numpy.stack([train[targets == each].mean(axis=0) for each in numpy.unique(targets)])
    found: Floats = (_unit(points) @ _unit(means).T).max(axis=1)
    return found


def neighbours(train: Floats, _: Ints, points: Floats) -> Floats:
    """Return the cosine to the k-th nearest text of train, [points]."""
    near = _unit(points) @ _unit(train).T
    found: Floats = numpy.partition(near, -_NEIGHBOURS, axis=1)[:, -_NEIGHBOURS]
    return found


def _unit(vectors: Floats) -> Floats:
    found: Floats = vectors / numpy.linalg.norm(vectors, axis=1, keepdims=True)
    return found


Fit = Callable[[Floats, Ints, Floats], Floats]
ON_POINTS: dict[str, Fit] = {
    "mahalanobis": lambda *given: -distances(*given),
    "relative mahalanobis": lambda *given: -relative(*given),
    "cosine to class means": cosines,
    "neighbours": neighbours,
}


def scopes(train: Sequence[Floats], targets: Ints, texts: Sequence[Floats]) -> dict[str, Floats]:
    """Return what each detector says of texts, higher for those in scope; vectors and logits are given of both."""
    vectors, logits = texts
    found = {"largest softmax": softmax(logits, axis=1).max(axis=1), "energy": energies(logits)}
    for name, score in ON_POINTS.items():
        found[f"{name}, vectors"] = score(train[0], targets, vectors)
        found[f"{name}, logits"] = score(train[1], targets, logits)
    return found


class Texts:
    """Vectors of the rows of train and test and of other sets."""

    def __init__(self, folder: Path, others: Sequence[Path]) -> None:
        self.train, self.test = (read_labelled(folder / f"{name}.jsonl", Columns()) for name in ("train", "test"))
        self.labels = sorted(set(self.train.names()))
        base = find_base("minilm")
        self._model = load_encoder(base, self.train.task, self.labels, Pooling("mean"))
        self._tokenizer = load_tokenizer(base, self.train.task, "right")
        self._tokenizer.model_max_length = 128
        self.vectors = {name: self._embed(each) for name, each in (("train", self.train), ("test", self.test))}
        self.others = {path.parent.name: self._embed(_inputs(path)) for path in others}

    def _embed(self, rows: Labelled) -> Floats:
        tokens = tokenize(self._model, self._tokenizer, rows, numpy.zeros(len(rows), numpy.int64))
        return embed(self._model, self._tokenizer, tokens, rows.source)[0]


def _inputs(path: Path) -> Labelled:
    rows = read_labelled(path, Columns())
    inputs = [each if isinstance(each, str) else " ".join(each) for each in rows.inputs[:_MOST_OTHER]]
    return Labelled(rows.source, "single_label", inputs, ["none"] * len(inputs), rows.rows[: len(inputs)])


def compare(texts: Texts, left_out: int, seed: int) -> dict[str, dict[str, float]]:
    """Return the AUROC of each detector against each other set and against the classes left out."""
    known = sorted(numpy.random.default_rng(seed).permutation(texts.labels)[left_out:].tolist())
    places = {label: place for place, label in enumerate(known)}
    of_train, of_test = (
        numpy.array([places.get(each, -1) for each in rows.names()]) for rows in (texts.train, texts.test)
    )
    vectors, targets = texts.vectors["train"][of_train >= 0], of_train[of_train >= 0]
    weight, bias = fit_linear(vectors, targets, "single_label", len(known))

    def both(points: Floats) -> tuple[Floats, Floats]:
        return points, points @ weight.T + bias

    def scope(points: Floats) -> dict[str, Floats]:
        return scopes(both(vectors), targets, both(points))

    inside = scope(texts.vectors["test"][of_test >= 0])
    outside = {name: scope(points) for name, points in texts.others.items()}
    outside["left out"] = scope(texts.vectors["test"][of_test < 0])
    return {name: {other: _auroc(inside[name], each[name]) for other, each in outside.items()} for name in inside}


def _auroc(inside: Floats, outside: Floats) -> float:
    is_inside = numpy.repeat([1, 0], [len(inside), len(outside)])
    return float(roc_auc_score(is_inside, numpy.concatenate([inside, outside])))


def main() -> None:
    """Compare the detectors, print the means over seeds and write them."""
    parser = argparse.ArgumentParser(prog="bench.methods.abstained", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--other", type=Path, action="append", default=[], help="rows of another set")
    parser.add_argument("--left-out", type=int, default=19, help="classes left out of training")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path("bench/results/abstained.json"))
    arguments = parser.parse_args()
    with readable("bench"):
        quiet_libraries()
        torch.manual_seed(0)
        texts = Texts(arguments.folder, arguments.other)
        runs = [compare(texts, arguments.left_out, seed) for seed in range(arguments.seeds)]
        table = {
            name: {other: round(mean(run[name][other] for run in runs), 4) for other in each}
            for name, each in runs[0].items()
        }
        document = {
            "data": arguments.folder.name,
            "left_out": arguments.left_out,
            "seeds": len(runs),
            "auroc": table,
            "bars": BARS,
            "machine": machine(),
        }
        arguments.output.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        out.print_json(data=table)


if __name__ == "__main__":
    main()
