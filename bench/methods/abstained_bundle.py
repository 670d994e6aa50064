"""How well a bundle that abstains tells texts of its labels from others.

`python -m bench.methods.abstained_bundle BUNDLE KNOWN --other FILE` prints for each other file the AUROC of the scope
and of the largest softmax against the texts of KNOWN, and the share that the model abstains from.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from sklearn.metrics import roc_auc_score

from bertwire_core.console import out
from bertwire_core.process import readable
from bertwire_core.scope import scopes
from bertwire_data.labelled import Columns, read_labelled
from bertwire_runtime.bundle import open_bundle
from bertwire_runtime.output import Output
from bertwire_runtime.predictor import Predictor

SCORES: dict[str, Callable[[Output], float]] = {
    "largest softmax": lambda output: float(output.scores.max()),
    "scope": lambda output: float(scopes(output.logits)),
}


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
        predictor = Predictor(open_bundle(arguments.bundle), arguments.variant)
        known = predictor.run(_texts(arguments.known))
        out.print_json(data={"known": {"abstained": _abstained(known)}})
        for path in arguments.other:
            other = predictor.run(_texts(path)[: arguments.texts])
            figures = {name: _auroc(known, other, score) for name, score in SCORES.items()}
            out.print_json(data={str(path): figures | {"texts": len(other), "abstained": _abstained(other)}})


def _texts(path: Path) -> list[str]:
    inputs = read_labelled(path, Columns()).inputs
    return [each if isinstance(each, str) else " ".join(each) for each in inputs]


def _abstained(outputs: Sequence[Output]) -> float:
    return round(sum(each.abstained for each in outputs) / len(outputs), 4)


def _auroc(known: Sequence[Output], other: Sequence[Output], score: Callable[[Output], float]) -> float:
    values = [score(each) for each in (*known, *other)]
    return round(float(roc_auc_score([1] * len(known) + [0] * len(other), values)), 4)


if __name__ == "__main__":
    main()
