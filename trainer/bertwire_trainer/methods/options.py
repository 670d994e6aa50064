"""The options of all methods as options of one command."""

from typing import Annotated, Any

from pydantic import AfterValidator, Field
from pydantic.config import JsonDict
from pydantic.fields import FieldInfo

from bertwire_core.errors import UserError
from bertwire_core.options import validated
from bertwire_trainer.method import MethodOptions
from bertwire_trainer.methods import AUTO, DEFAULT, METHODS

# Methods of peft's and others' that leave tokens or layers beside the model's own.
_UNMERGED = ("adapter", "adapters", "p-tuning", "prefix", "prefix-tuning", "prompt", "prompt-tuning")


def method_field() -> dict[str, Any]:
    """Return the field `method`, for pydantic's `create_model`."""
    described = f"How the encoder learns the task: {', '.join(METHODS)}; auto: the method that suits the rows."
    return {"method": (Annotated[str, AfterValidator(_known)], Field(DEFAULT, description=described))}


def option_fields() -> dict[str, Any]:
    """Return a field for each option of any method, for pydantic's `create_model`; None: the method's own default."""
    return {name: _field(name) for method in METHODS.values() for name in method.Options.model_fields}


def chosen(method: str, given: dict[str, Any]) -> MethodOptions:
    """Return the options of a method.

    Args:
        method: the name of the method.
        given: the options that the user set; those that are None or empty are not set.

    Raises:
        UserError: an option belongs to other methods only, or is out of range.
    """
    options = METHODS[method].Options
    values = set_by_user(given)
    for name in values:
        if name not in options.model_fields:
            raise UserError(f"{flag(name)} is an option of --method {' and '.join(owners(name))}; this is {method}")
    made: MethodOptions = validated(options, values)
    return made


def set_by_user(given: dict[str, Any]) -> dict[str, Any]:
    """Return the options that are neither None nor empty."""
    return {name: value for name, value in given.items() if value is not None and value != []}


def flag(name: str) -> str:
    """Return the option of a field; that of `continued` is --continue, which Python does not take as a name."""
    return "--" + name.replace("continued", "continue").replace("_", "-")


def optional(name: str, field: FieldInfo, description: str) -> tuple[Any, None]:
    """Return a field with the range of `field` that is None where the user does not set it."""
    # A switch that is off by default has no form that turns it off, as for other options.
    named = field.default is False or isinstance(field.json_schema_extra, dict)
    extra: JsonDict = {"flag": flag(name)} if named else {}
    described = Field(description=description, json_schema_extra=extra)
    kind: Any = field.annotation
    return Annotated[(kind | None, *field.metadata, described)], None


def owners(name: str) -> list[str]:
    """Return the methods that have an option."""
    return [method for method, each in METHODS.items() if name in each.Options.model_fields]


def _known(method: str) -> str:
    if method not in (*METHODS, AUTO):
        reason = ", as what it adds cannot be merged into the weights of a plain model" * (method in _UNMERGED)
        raise ValueError(f"there is no method {method!r}{reason}; there are {', '.join((*METHODS, AUTO))}")
    return method


def _fields(name: str) -> dict[str, FieldInfo]:
    """Return the field of an option by the name of each method that has it."""
    return {method: METHODS[method].Options.model_fields[name] for method in owners(name)}


def _field(name: str) -> tuple[Any, None]:
    fields = _fields(name)
    first = next(iter(fields.values()))
    of = "" if len(fields) == len(METHODS) else f"{', '.join(fields)}: "
    return optional(name, first, of + _described(fields))


def _described(fields: dict[str, FieldInfo]) -> str:
    first = next(iter(fields.values()))
    if first.default is None or first.default is False or first.default == []:
        return first.description or ""
    others = [f"{name} {each.default}" for name, each in fields.items() if each.default != first.default]
    return f"{first.description} [default: {', '.join([str(first.default), *others])}]"
