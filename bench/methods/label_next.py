"""Labels chosen in rounds as `bertwire label-next` does, against as many chosen by chance.

The learner is a logistic regression on the frozen, mean-pooled vectors of MiniLM: the choice is what is compared, and a
fit takes a second where fine-tuning takes minutes. Its logits go through the uncertainty and clusters of bertwire; the
first round is chosen without a model. Run it with `python -m bench.methods.label_next FOLDER`, where FOLDER has
train.jsonl, the labelled pool, and test.jsonl.
"""

import argparse
import json
from pathlib import Path
from statistics import mean

import numpy
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from bench.machine import machine
from bertwire_core.console import out, tracked
from bertwire_core.process import readable
from bertwire_data.labelled import Columns, Labelled, encode_targets, label_order, read_labelled, score
from bertwire_trainer.base import find_base
from bertwire_trainer.labelling.network import load_encoder
from bertwire_trainer.labelling.select import candidates, diverse
from bertwire_trainer.labelling.uncertainty import doubt, probabilities
from bertwire_trainer.quiet import quiet_libraries

Floats = NDArray[numpy.floating]
Curve = list[dict[str, float]]

# Points of macro-F1 that label-next must be ahead of chance at the last round.
BAR = 0.02
# Inverse strength of the regularization of vectors of length 1; halved, both sides lose alike.
_STRENGTH = 30.0


class Pool:
    """Vectors and encoded labels of the pool and of the test texts."""

    def __init__(self, folder: Path) -> None:
        train, test = (read_labelled(folder / f"{name}.jsonl", Columns()) for name in ("train", "test"))
        self.task = train.task
        self.labels = label_order(train.names(), train.task)
        network = load_encoder(find_base("minilm"), train)
        self.vectors, self.test_vectors = (network.vectors(each, each.source) for each in (train, test))
        self.targets, self.test_targets = (self._encoded(each) for each in (train, test))

    def _encoded(self, rows: Labelled) -> NDArray[numpy.int64]:
        found: NDArray[numpy.int64] = encode_targets(rows, self.labels)
        return found

    def fitted(self, known: list[int]) -> LogisticRegression:
        """Return the learner after the labels of `known`."""
        return LogisticRegression(C=_STRENGTH, max_iter=500).fit(self.vectors[known], self.targets[known])

    def scores(self, learner: LogisticRegression) -> dict[str, float]:
        """Return macro-F1 and accuracy on the test texts."""
        logits = numpy.full((len(self.test_targets), len(self.labels)), -numpy.inf)
        logits[:, learner.classes_] = learner.decision_function(self.test_vectors)
        return score(self.task, logits, self.test_targets, self.labels)

    def unsure(self, learner: LogisticRegression, unknown: list[int]) -> NDArray[numpy.float64]:
        """Return the uncertainty by margin of each text of `unknown`."""
        of = probabilities(self.task)
        assert of is not None  # noqa: S101 - a task with labels
        return doubt(of, learner.decision_function(self.vectors[unknown]), self.labels, None, "margin").uncertainty


def main() -> None:
    """Run both sides with every seed, print the last round and write all rounds."""
    parser = argparse.ArgumentParser(prog="bench.methods.label_next", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--each", type=int, default=100, help="labels of a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path("bench/results/label-next.json"))
    arguments = parser.parse_args()
    with readable("bench"):
        quiet_libraries()
        pool = Pool(arguments.folder)
        sides = {"chance": by_chance, "label-next": by_choice}
        turns = [(name, seed) for seed in range(arguments.seeds) for name in sides]
        curves: dict[str, list[Curve]] = {name: [] for name in sides}
        for name, seed in tracked(turns, "sides in turn", len(turns)):
            curves[name].append(sides[name](pool, arguments.each, arguments.rounds, seed))
        last = {name: _last(each) for name, each in curves.items()}
        gain = {metric: round(last["label-next"][metric] - value, 4) for metric, value in last["chance"].items()}
        document = {
            "data": arguments.folder.name,
            "pool": len(pool.targets),
            "test": len(pool.test_targets),
            "learner": f"logistic regression (C={_STRENGTH}) on frozen mean-pooled minilm vectors",
            "labels_a_round": arguments.each,
            "seeds": arguments.seeds,
            "last_round": last | {"gain": gain},
            "bar": {"macro_f1": BAR, "met": gain["macro_f1"] >= BAR},
            "rounds": curves,
            "machine": machine(),
        }
        arguments.output.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        out.print_json(data=document["last_round"])
        out.print(f"written to {arguments.output}")


def by_chance(pool: Pool, each: int, rounds: int, seed: int) -> Curve:
    """Return the scores after every round of labels drawn by chance."""
    drawn = numpy.random.default_rng(seed).permutation(len(pool.targets)).tolist()
    return [pool.scores(pool.fitted(drawn[: each * number])) for number in range(1, rounds + 1)]


def by_choice(pool: Pool, each: int, rounds: int, seed: int) -> Curve:
    """Return the scores after every round of labels chosen as `bertwire label-next` chooses them."""
    known = diverse(pool.vectors, each, seed)
    curve = []
    for number in range(1, rounds + 1):
        learner = pool.fitted(known)
        curve.append(pool.scores(learner))
        if number < rounds:
            unknown = sorted(set(range(len(pool.targets))) - set(known))
            near = candidates(pool.unsure(learner, unknown), each)
            vectors = pool.vectors[[unknown[place] for place in near]]
            known += [unknown[near[place]] for place in diverse(vectors, each, seed)]
    return curve


def _last(curves: list[Curve]) -> dict[str, float]:
    return {metric: round(mean(curve[-1][metric] for curve in curves), 4) for metric in curves[0][-1]}


if __name__ == "__main__":
    main()
