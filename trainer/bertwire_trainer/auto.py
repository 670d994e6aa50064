"""`--method auto`: the method that suits the rows. The table of rules and its thresholds are here alone."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from bertwire_core.errors import UserError
from bertwire_core.tasks import Task
from bertwire_data.labelled import Labelled
from bertwire_trainer import ranks
from bertwire_trainer.loop.options import LoopOptions
from bertwire_trainer.methods import AUTO, METHODS
from bertwire_trainer.methods.options import flag, option_fields, set_by_user
from bertwire_trainer.tasks import SPECS

if TYPE_CHECKING:
    from bertwire_trainer.config import RunConfig

# Rows a label below which nothing can be held out to fit with: a rule of thumb. Halved, it is never met.
_HARDLY_ANY = 2
# Rows a label below which not all weights are trained on the labels. Measured with MiniLM at 8 rows a label
# (bench/results/few-shot.json): SST-2, ten draws, few-shot 0.641, frozen 0.602, full 0.603; banking77 with its 77
# labels, one draw, frozen 0.818, few-shot 0.780. That it ends at twice as many is a rule of thumb.
FEW = 16
# Labels up to which few-shot is chosen for so few rows; between 2 and 77, a rule of thumb. Halved, sets of 6 to 10
# labels keep the encoder as it is.
FEW_LABELS = 10


@dataclass(frozen=True, slots=True)
class Facts:
    """What the choice goes by.

    Attributes:
        task: the task.
        labels: number of distinct labels in train; 1 for numbers.
        per_label: rows of train for each label, on average.
        named: whether label names are words, which say what a label means.
    """

    task: Task
    labels: int
    per_label: float
    named: bool

    @classmethod
    def of(cls, train: Labelled) -> Self:
        """Count the rows of train."""
        names = {*train.names()}
        named = all(any(letter.isalpha() for letter in name) for name in names)
        return cls(train.task, len(names) or 1, len(train) / (len(names) or 1), named)


@dataclass(frozen=True, slots=True)
class _Rule:
    method: str
    applies: Callable[[Facts], bool]
    reason: str


# The first that applies, of a method that may be chosen.
_RULES = (
    _Rule("full", lambda facts: SPECS[facts.task].by_word, "each word has a tag"),
    _Rule(
        "zero-shot",
        lambda facts: facts.named and facts.per_label < _HARDLY_ANY,
        f"fewer than {_HARDLY_ANY} rows a label",
    ),
    _Rule(
        "few-shot",
        lambda facts: _HARDLY_ANY <= facts.per_label < FEW and facts.labels <= FEW_LABELS,
        f"{{per_label:.1f}} rows a label, fewer than {FEW}, and {{labels}} labels",
    ),
    _Rule("frozen", lambda facts: facts.per_label < FEW, f"{{per_label:.1f}} rows a label, fewer than {FEW}"),
    _Rule("full", lambda _: True, "{per_label:.0f} rows a label"),
)


def settled(config: "RunConfig") -> "tuple[RunConfig, list[str]]":
    """Return the settings with the method in place of auto, and the line that says why; as they are without auto.

    Raises:
        UserError: train is faulty, or no method has all options that are set.
    """
    if config.method != AUTO:
        return config, []
    from bertwire_trainer.data import read_train

    given = set_by_user(config.model_dump(include=set(option_fields())))
    method, reason = choose(Facts.of(read_train(config)), [*given], lambda name: _fits(name, config))
    return config.model_copy(update={"method": method}), [f"--method auto: {method}, for {reason}"]


def _fits(method: str, config: "RunConfig") -> bool:
    """Return whether a method fits the other settings: the pooling, the stages, the number of processes."""
    try:
        for stage in config.stages.values():
            stage.require_method(method)
    except UserError:
        return False
    if ranks.count() > 1 and not issubclass(METHODS[method].Options, LoopOptions):
        return False
    return METHODS[method].pooling is None or config.pooling != "own"


def choose(facts: Facts, given: list[str], fits: Callable[[str], bool] = lambda _: True) -> tuple[str, str]:
    """Return a method, and the reason in words.

    Args:
        facts: what train has.
        given: options of methods that are set: a method must have all of them.
        fits: whether a method fits the other settings.

    Raises:
        UserError: no method does.
    """
    able = [
        name
        for name, method in METHODS.items()
        if facts.task in method.tasks and fits(name) and all(option in method.Options.model_fields for option in given)
    ]
    options = " and ".join(map(flag, given))
    if not able:
        raise UserError(f"--method auto: no method for {facts.task} has {options}; leave out what you can do without")
    for rule in _RULES:
        if rule.method in able and rule.applies(facts):
            return rule.method, rule.reason.format(labels=facts.labels, per_label=facts.per_label)
    return able[0], f"{options}, which it has"
