"""Which thresholds a request may send."""

from typing import Any

import pytest

from bertwire_runtime.bundle import Manifest
from bertwire_runtime.thresholds import Thresholds
from bertwire_server.errors import InvalidRequest
from bertwire_server.inference import check_thresholds

TAGS = ("O", "B-x", "I-x", "B-y", "I-y")


def manifest(task: str, labels: tuple[str, ...]) -> Manifest:
    """As much of a manifest as is looked at."""
    known: dict[str, Any] = {"task": task, "labels": labels}
    return Manifest.model_construct(**known)


@pytest.mark.parametrize(
    ("task", "thresholds", "words"),
    [
        ("single_label", Thresholds(all=1.01), "threshold is 1.01"),
        ("single_label", Thresholds(all=float("nan")), "threshold is nan"),
        ("multi_label", Thresholds(by_label={"B-x": -0.5}), r"thresholds\['B-x'\] is -0.5"),
        ("multi_label", Thresholds(by_label={"x": 0.5}), "names 'x', which the model does not know"),
        ("token_classification", Thresholds(by_label={"B-x": 0.5}), "names 'B-x', which the model does not know"),
        ("token_classification", Thresholds(by_label={"O": 0.5}), "names 'O', which the model does not know"),
        ("regression", Thresholds(all=0.5), "no threshold applies"),
    ],
)
def test_refuses_thresholds_that_do_not_fit(task: str, thresholds: Thresholds, words: str) -> None:
    """A threshold that is no score, or of something that the model does not have, is the caller's fault."""
    with pytest.raises(InvalidRequest, match=words):
        check_thresholds(thresholds, manifest(task, TAGS))


@pytest.mark.parametrize("task", ["single_label", "multi_label", "token_classification", "regression"])
def test_takes_thresholds_that_fit(task: str) -> None:
    """None at all for every task; the ends of the range and known names elsewhere."""
    check_thresholds(Thresholds(), manifest(task, TAGS))
    if task != "regression":
        name = "x" if task == "token_classification" else "B-x"
        check_thresholds(Thresholds(all=0, by_label={name: 1}), manifest(task, TAGS))
