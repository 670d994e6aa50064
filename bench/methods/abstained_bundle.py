"""How well a bundle that abstains tells texts of its labels from others.

`python -m bench.methods.abstained_bundle BUNDLE KNOWN --other FILE` prints for each other file the AUROC of the scope
and of the largest softmax against the texts of KNOWN, and the share that the model abstains from.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.metrics import roc_auc_score

from bertwire_core.console import out
from bertwire_core.errors import UserError
from bertwire_core.process import readable
from bertwire_core.scope import Scope, scopes
from bertwire_data.labelled import Columns, read_labelled
from bertwire_runtime.bundle import open_bundle
from bertwire_runtime.predictor import Predictor
from bertwire_runtime.scope import read_scope
from bertwire_runtime.tokenizer import means_by_text

Floats = NDArray[numpy.floating]
# Texts of a batch; halved, nothing breaks.
_BATCH = 32


def main() -> None:
    """Run the bundle on all files and print the figures."""
    parser = argparse.ArgumentParser(prog="bench.methods.abstained_bundle", description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("known", type=Path)
    parser.add_argument("--other", type=Path, action="append", default=[])
    parser.add_argument("--variant", default="int8")
    parser.add_argument("--texts", type=int, default=1000, help="texts of each other file, from its beginning")
    arguments = parser.parse_args()
    with readable("bench"):
        bundle = open_bundle(arguments.bundle)
        predictor, scope = Predictor(bundle, arguments.variant), read_scope(bundle)
        if scope is None:
            raise UserError(f"{arguments.bundle} never abstains; train with --abstain")
        known = _scores(predictor, scope, _texts(arguments.known))
        out.print_json(data={"known": {"abstained": _abstained(known, scope)}})
        for path in arguments.other:
            other = _scores(predictor, scope, _texts(path)[: arguments.texts])
            figures = {name: _auroc(known[name], other[name]) for name in known}
            counts = {"texts": len(other["scope"]), "abstained": _abstained(other, scope)}
            out.print_json(data={str(path): figures | counts})


def _texts(path: Path) -> list[str]:
    inputs = read_labelled(path, Columns()).inputs
    return [each if isinstance(each, str) else " ".join(each) for each in inputs]


def _scores(predictor: Predictor, scope: Scope, texts: Sequence[str]) -> dict[str, Floats]:
    """Return scope and largest softmax of each text, by their names."""
    rows: list[NDArray[numpy.float32]] = []
    for start in range(0, len(texts), _BATCH):
        encoded = predictor.encode(texts[start : start + _BATCH])
        rows += means_by_text(encoded, predictor.logits([chunk for text in encoded for chunk in text.chunks()]))
    logits, vectors = scope.split(numpy.stack(rows))
    return {
        "largest softmax": softmax(logits, axis=1).max(axis=1),
        "scope": scopes(logits, vectors, scope.centroids, scope.entropy_weight),
    }


def _abstained(scores: dict[str, Floats], scope: Scope) -> float:
    return round(float((scores["scope"] < scope.threshold).mean()), 4)


def _auroc(known: Floats, other: Floats) -> float:
    values = numpy.concatenate([known, other])
    return round(float(roc_auc_score([1] * len(known) + [0] * len(other), values)), 4)


if __name__ == "__main__":
    main()
