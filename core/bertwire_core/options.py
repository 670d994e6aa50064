"""Command options from pydantic configuration classes."""

import inspect
from collections.abc import Callable
from difflib import get_close_matches
from enum import Enum
from typing import Annotated, Any, Self, TypeVar

import typer
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.config import JsonDict
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from bertwire_core.errors import UserError


class Config(BaseModel):
    """Base of all configurations: frozen; unknown keys, and fields that have no effect beside the others, refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="after")
    def _without_idle_fields(self) -> Self:
        if faults := idle(self):
            raise ValueError("; ".join(faults.values()))
        return self


def needs(option: str, *among: str, least: int = 1) -> JsonDict:
    """Declare by a field's `json_schema_extra` that it has no effect without another field of its class.

    Args:
        option: the other field, which must not be None, False or empty.
        among: where it is a list, values of which it must have one.
        least: where it is a number, the least with which the field has an effect.
    """
    return {"needs": option, "among": [*among], "least": least}


def idle(config: BaseModel) -> dict[str, str]:
    """Return the fields that are not their defaults and have no effect, each with a line that says what it needs."""
    fields, found = type(config).model_fields, {}
    for name, field in fields.items():
        extra = _extra(field)
        if "needs" not in extra or getattr(config, name) == field.get_default(call_default_factory=True):
            continue
        other, among, least = str(extra["needs"]), extra["among"], extra["least"]
        value = getattr(config, other)
        if not _has_effect(value, among, least):
            low = type(value) is int and other in config.model_fields_set
            how = f" of {least} at least" if low else f" {' or '.join(among)}" if among else ""
            found[name] = f"{_option(name, field)} needs {_option(other, fields[other])}{how}"
    return found


def _has_effect(value: Any, among: list[str], least: int) -> bool:  # noqa: ANN401 - a field's value
    if among:
        return any(each in among for each in value)
    return value >= least if type(value) is int else bool(value)


def stray(name: str, config: type[BaseModel]) -> str:
    """Return the message for an unknown key of a file, with the nearest field of `config`."""
    near = get_close_matches(name, config.model_fields, n=1)
    return "no such setting; " + (f"is {near[0]} meant?" if near else f"there are {', '.join(config.model_fields)}")


ConfigT = TypeVar("ConfigT", bound=Config)


def argument(description: str) -> Any:  # noqa: ANN401 - a field's default, as pydantic's Field
    """Declare a required field that is a positional argument instead of an option."""
    return Field(description=description, json_schema_extra={"argument": True})


def command(config: type[ConfigT], run: Callable[[ConfigT], None]) -> Callable[..., None]:
    """Return a function for typer whose parameters are the fields of `config`.

    A field is the option of its name, or of `json_schema_extra={"flag": "--name"}`; a switch that is off by default has
    no `--no-` form. The function has the docstring of `run` and calls it with the validated configuration, in which the
    options that the user gave are set and the others are defaults; it raises `UserError` with all faults in one line.
    """

    def call(typer_context: typer.Context, **values: Any) -> None:  # noqa: ANN401 - typer's values, validated below
        source = typer_context.get_parameter_source
        given = {name: value for name, value in values.items() if _is_given(source(name))}
        run(validated(config, given))

    parameters = [_parameter(name, field) for name, field in config.model_fields.items()]
    context = inspect.Parameter("typer_context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
    parameters.append(context)
    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {each.name: each.annotation for each in parameters}
    call.__doc__ = _unwrapped(run.__doc__ or "")
    call.__name__ = run.__name__
    return call


def validated(config: type[ConfigT], values: dict[str, Any]) -> ConfigT:
    """Return `config` built from `values`; raise `UserError` naming every invalid option."""
    try:
        return config(**values)
    except ValidationError as error:
        raise UserError("; ".join(_fault(detail, config) for detail in error.errors())) from None


def _is_given(source: Enum | None) -> bool:
    # By name: the class of the sources is private to typer.
    return source is not None and source.name != "DEFAULT"


def _unwrapped(text: str) -> str:
    # Typer keeps the source's line breaks in later paragraphs.
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


def _parameter(name: str, field: FieldInfo) -> inspect.Parameter:
    default = inspect.Parameter.empty if field.is_required() else field.get_default(call_default_factory=True)
    make = typer.Argument if _extra(field).get("argument") else typer.Option
    names = [_option(name, field)] if default is False or "flag" in _extra(field) else []
    info = make(*names, help=field.description, show_default=default not in (None, False, ""))
    annotation = Annotated[field.annotation, info]  # type: ignore[name-defined]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _fault(detail: ErrorDetails, config: type[Config]) -> str:
    message = detail["msg"].removeprefix("Value error, ")
    if not detail["loc"]:
        return message
    name = str(detail["loc"][0])
    field = config.model_fields.get(name)
    return f"{_option(name, field) if field else name}: {message}"


def _option(name: str, field: FieldInfo) -> str:
    if _extra(field).get("argument"):
        return name.upper()
    return str(_extra(field).get("flag") or "--" + name.replace("_", "-"))


def _extra(field: FieldInfo) -> dict[str, Any]:
    return field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
