"""The values of one option that are searched."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, get_args, get_origin

from pydantic import ValidationError, model_validator

from bertwire_core.options import Config
from bertwire_trainer.config import TrainConfig
from bertwire_trainer.recipe import invalid, unknown

if TYPE_CHECKING:
    import optuna

_KEYS = ("low", "high", "log")


@dataclass(frozen=True, slots=True)
class Choices:
    """A list of values, of which null leaves the option unset."""

    values: tuple[Any, ...]

    def suggest(self, trial: "optuna.Trial", name: str) -> Any:  # noqa: ANN401 - an option's value
        """Return a value for a trial."""
        return trial.suggest_categorical(name, self.values)

    def holds(self, value: object) -> bool:
        """Return whether the value is among the choices."""
        return value in self.values


class Range(Config):
    """A range of numbers, both ends included."""

    low: float
    high: float
    log: bool = False
    whole: bool = False

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.low >= self.high:
            raise ValueError("low must be less than high")
        if self.log and self.low <= 0:
            raise ValueError("low must be above 0 on a logarithmic scale")
        if self.whole and not (self.low.is_integer() and self.high.is_integer()):
            raise ValueError("low and high must be whole numbers")
        return self

    def suggest(self, trial: "optuna.Trial", name: str) -> float:
        """Return a value for a trial."""
        if self.whole:
            return trial.suggest_int(name, int(self.low), int(self.high), log=self.log)
        return trial.suggest_float(name, self.low, self.high, log=self.log)

    def holds(self, value: object) -> bool:
        """Return whether the value is within the range."""
        return isinstance(value, int | float) and self.low <= value <= self.high


Dimension = Choices | Range


def read_dimension(name: str, value: object) -> tuple[Dimension | None, list[str]]:
    """Return what a file says of an option of `bertwire train`, and what is wrong with it."""
    if fault := unknown(name, TrainConfig):
        return None, [fault]
    if isinstance(value, dict):
        return _range(name, value)
    values = value if isinstance(value, list) else [value]
    if not values:
        return None, [f"{name}: the list has no value"]
    return Choices(tuple(values)), _faults(name, values)


def in_list(name: str, value: object) -> object:
    """Return the value of an option that may be given several times as the list of it."""
    return [value] if value is not None and any(get_origin(kind) is list for kind in _kinds(name)) else value


def _range(name: str, value: dict[Any, Any]) -> tuple[Range | None, list[str]]:
    if strays := [str(key) for key in value if key not in _KEYS]:
        return None, [f"{name}: has no {' nor '.join(strays)}; a range has low, high and, if it is to be, log"]
    try:
        found = Range(**value, whole=float not in _kinds(name))
    except ValidationError as error:
        details = error.errors()
        return None, [
            ": ".join([name, *map(str, each["loc"]), each["msg"].removeprefix("Value error, ")]) for each in details
        ]
    return found, _faults(name, [found.low, found.high])


def _faults(name: str, values: list[Any]) -> list[str]:
    return [fault for each in values if (fault := invalid(name, in_list(name, each), TrainConfig))]


def _kinds(name: str) -> tuple[Any, ...]:
    annotation = TrainConfig.model_fields[name].annotation
    return (annotation, *get_args(annotation))
