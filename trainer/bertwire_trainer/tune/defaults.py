"""The space that is searched where the user gives none."""

from typing import Any

from bertwire_trainer.auto import Facts
from bertwire_trainer.loop.options import LoopOptions
from bertwire_trainer.method import Scale
from bertwire_trainer.methods import METHODS
from bertwire_trainer.tasks import SPECS

# Rows a label up to which methods for few rows are tried. Halved, they are not tried where they may still be best;
# doubled, trials go into methods that have many rows to pair and gain nothing by it.
_FEW = 64
# Rates around those that the methods' defaults are in, wide enough for encoders of other sizes.
_SPACES: dict[str, dict[str, Any]] = {
    "zero-shot": {},
    "frozen": {"pooling": ["first", "mean", "max"]},
    "prototypes": {
        "learning_rate": {"low": 5e-6, "high": 1e-4, "log": True},
        "episodes": [0, 100, 200],
    },
    "few-shot": {
        "learning_rate": {"low": 2e-5, "high": 5e-4, "log": True},
        "num_iterations": [5, 10, 20],
    },
    "lora": {"learning_rate": {"low": 1e-4, "high": 3e-3, "log": True}, "lora_rank": [4, 8, 16]},
    "full": {"learning_rate": {"low": 1e-5, "high": 5e-4, "log": True}, "layer_decay": [1.0, 0.9]},
}
_FOR_FEW = {"zero-shot", "prototypes", "few-shot"}
_BY_EPOCHS = ("lora", "full")


def default_space(facts: Facts, scale: Scale, fixed: set[str]) -> dict[str, Any]:
    """Return the space for what train has, in the form of a file.

    Args:
        facts: what train has.
        scale: what default recipes are chosen by, which the space holds.
        fixed: options that all trials have in common, which are not searched.
    """
    methods = [
        name
        for name in _SPACES
        if facts.task in METHODS[name].tasks and (name not in _FOR_FEW or facts.per_label <= _FEW)
    ]
    loop = _of_epochs(facts, scale)
    if fixed & {"pooler", "normalize"}:
        # They are not for the architecture's own head.
        loop.pop("pooling", None)
    spaces = {name: _SPACES[name] | (loop if name in _BY_EPOCHS else {}) for name in methods}
    if not facts.named:
        spaces.pop("zero-shot", None)
    return {
        method: {name: each for name, each in options.items() if name not in fixed}
        for method, options in spaces.items()
    }


def _of_epochs(facts: Facts, scale: Scale) -> dict[str, Any]:
    spec = SPECS[facts.task]
    most = max(6, LoopOptions().suited(scale).epochs)
    space: dict[str, Any] = {"epochs": {"low": 2, "high": most}, "dropout": [None, 0.0, 0.2, 0.3]}
    if not spec.by_word:
        space["pooling"] = ["mean", "own"]
    if spec.label_smoothing:
        space["label_smoothing"] = [0.0, 0.1]
    if spec.class_weights:
        space["class_weights"] = ["none", "balanced"]
    return space
