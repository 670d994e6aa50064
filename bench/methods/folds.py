"""Compare two 95% intervals of cross-validated macro-F1 on simulated data: `python -m bench.methods.folds`.

Prints how often each holds the mean macro-F1 of the models of the folds on 20,000 other rows, and how wide it is.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student
from sklearn.linear_model import LogisticRegression

from bertwire_data.labelled import score
from bertwire_trainer.trust.intervals import intervals

_TIMES, _ROWS, _FOLDS, _CHANNELS = 300, 300, 5, 10
_LABELS, _SHARES = ["a", "b", "c", "d"], [0.4, 0.3, 0.2, 0.1]
_MEANS = 0.55 * np.random.default_rng(0).normal(size=(len(_LABELS), _CHANNELS))

Floats = NDArray[np.float64]
Ids = NDArray[np.int64]


def draw(rows: int, seed: int) -> tuple[Floats, Ids]:
    """Return normal vectors of four overlapping labels of unequal shares."""
    generator = np.random.default_rng(seed)
    labels = generator.choice(len(_LABELS), rows, p=_SHARES)
    return _MEANS[labels] + generator.normal(size=(rows, _CHANNELS)), labels


def main() -> None:
    """Simulate, and print the coverage and the width of both."""
    others, truth = draw(20_000, 99)
    found: dict[str, list[tuple[float, float, float]]] = {"Student's t over folds": [], "bootstrap of pooled rows": []}
    for time in range(_TIMES):
        vectors, labels = draw(_ROWS, 1000 + time)
        folds = np.arange(_ROWS) % _FOLDS
        logits, scores, true = np.zeros((_ROWS, len(_LABELS))), [], []
        for fold in range(_FOLDS):
            held = folds == fold
            model = LogisticRegression(max_iter=200).fit(vectors[~held], labels[~held])
            logits[held] = model.decision_function(vectors[held])
            scores.append(_macro(logits[held], labels[held]))
            true.append(_macro(model.decision_function(others), truth))
        half = student.ppf(0.975, _FOLDS - 1) * np.std(scores, ddof=1) / _FOLDS**0.5
        ends = float(np.mean(scores) - half), float(np.mean(scores) + half)
        pooled = intervals("single_label", logits, labels, _LABELS, None, time)["macro_f1"]
        for each, (low, high) in zip(found.values(), (ends, pooled), strict=True):
            each.append((low, high, float(np.mean(true))))
    for name, rows in found.items():
        widths = [high - low for low, high, _ in rows]
        least, most = np.percentile(widths, [10, 90])
        coverage = np.mean([low <= value <= high for low, high, value in rows])
        print(f"{name}: holds it in {coverage:.1%}, width {np.mean(widths):.3f}, of 8 in 10 {least:.3f} to {most:.3f}")


def _macro(logits: Floats, labels: Ids) -> float:
    return score("single_label", logits, labels, _LABELS)["macro_f1"]


if __name__ == "__main__":
    main()
