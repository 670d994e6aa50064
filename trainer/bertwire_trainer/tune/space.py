"""The space that is searched: methods, and of each the values of its options."""

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from bertwire_trainer.method import Scale
from bertwire_trainer.methods import DEFAULT, METHODS
from bertwire_trainer.methods.options import owners
from bertwire_trainer.tune.dimensions import Dimension, in_list, read_dimension

if TYPE_CHECKING:
    import optuna


# Defaults of options of every method.
_OF_EVERY = {"pooling": "mean"}


@dataclass(frozen=True, slots=True)
class Space:
    """What is searched.

    Attributes:
        methods: the options to search of each method, by name.
    """

    methods: dict[str, dict[str, Dimension]]

    def suggest(self, trial: "optuna.Trial") -> dict[str, Any]:
        """Return options of `bertwire train` for a trial, whose parameter METHOD.OPTION is the OPTION of METHOD."""
        method = trial.suggest_categorical("method", [*self.methods])
        options = self.methods[method].items()
        values = {name: each.suggest(trial, f"{method}.{name}") for name, each in options}
        return {"method": method} | {name: in_list(name, value) for name, value in values.items()}

    def starts(self, scale: Scale) -> Iterator[dict[str, Any]]:
        """Yield for each method the parameters of a trial with its defaults, as far as the space has them."""
        for method, options in self.methods.items():
            own = METHODS[method].Options().suited(scale).model_dump()
            defaults = {name: (_OF_EVERY | own)[name] for name in options if name in own or name in _OF_EVERY}
            held = {f"{method}.{name}": value for name, value in defaults.items() if options[name].holds(value)}
            yield {"method": method} | held


def read_space(raw: dict[str, Any]) -> tuple[Space, list[str]]:
    """Return the space that a file describes, and its faults, of which there may be none.

    Args:
        raw: `method`, one or a list; an option, for each method that has it; or a method with options of its own. An
            option has one value, a list of values, or `low`, `high` and, for a logarithmic scale, `log`.
    """
    asked = raw.get("method", [name for name in raw if name in METHODS] or DEFAULT)
    listed = [*map(str, asked)] if isinstance(asked, list) else [str(asked)]
    faults = [_no_method(each) for each in listed if each not in METHODS] or ([] if listed else ["method: names none"])
    methods: dict[str, dict[str, Dimension]] = {name: {} for name in listed if name in METHODS}
    for name, value in raw.items():
        if name in METHODS:
            faults += _read_section(name, value, methods)
        elif name != "method":
            faults += _read_option(name, value, methods, [*methods])
    return Space(methods), faults


def _no_method(name: str) -> str:
    near = get_close_matches(name, METHODS, n=1)
    return f"method: there is no {name}; " + (f"is {near[0]} meant?" if near else f"there are {', '.join(METHODS)}")


def _read_section(method: str, options: object, methods: dict[str, dict[str, Dimension]]) -> list[str]:
    if method not in methods:
        return [f"{method}: is not searched; add it to method"]
    if not isinstance(options, dict):
        return [f"{method}: give its options by name"]
    return [fault for name, value in options.items() for fault in _read_option(str(name), value, methods, [method])]


def _read_option(name: str, value: object, methods: dict[str, dict[str, Dimension]], among: list[str]) -> list[str]:
    """Give an option to those of the methods `among` that have it; return what is wrong with it."""
    dimension, faults = read_dimension(name, value)
    if dimension is None or faults:
        return faults
    of = owners(name) or among
    if among and not {*of} & {*among}:
        return [f"{name}: is an option of method {' and '.join(of)}, not of {' and '.join(among)}"]
    for method in among:
        if method in of:
            methods[method][name] = dimension
    if name != "pooling" or not dimension.holds("own"):
        return []
    headless = [method for method in among if METHODS[method].pooling is not None]
    return [f"pooling: own is not for method {each}, which reads a pooled vector" for each in headless]
