"""Turns a validated configuration object into the options of a command, so that each setting is described once."""

import inspect
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import typer
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticUndefined

from bertwire_client.errors import UserError


class Config(BaseModel):
    """Base of every part's configuration: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


ConfigT = TypeVar("ConfigT", bound=Config)


def argument(description: str) -> Any:  # noqa: ANN401 - stands where a field's default stands, as pydantic's Field does
    """A required field given by its place on the command line, not by an option."""
    return Field(description=description, json_schema_extra={"argument": True})


def command(config: type[ConfigT], run: Callable[[ConfigT], None]) -> Callable[..., None]:
    """Makes a function for typer whose parameters are the fields of `config`.

    Its docstring is that of `run`. It calls `run` with the validated configuration, and raises `UserError` with all
    faults in one line where validation fails.
    """

    def call(**values: Any) -> None:  # noqa: ANN401 - typer's values, validated below
        run(validated(config, values))

    parameters = [_parameter(name, field) for name, field in config.model_fields.items()]
    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.__doc__ = run.__doc__
    call.__name__ = run.__name__
    return call


def validated(config: type[ConfigT], values: dict[str, Any]) -> ConfigT:
    """Builds `config` from `values`; raises `UserError` naming every faulty option."""
    try:
        return config(**values)
    except ValidationError as error:
        raise UserError("; ".join(_fault(detail, config) for detail in error.errors())) from None


def _parameter(name: str, field: FieldInfo) -> inspect.Parameter:
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    make = typer.Argument if extra.get("argument") else typer.Option
    annotation = Annotated[field.annotation, make(help=field.description, show_default=True)]  # type: ignore[name-defined]
    default = inspect.Parameter.empty if field.default is PydanticUndefined else field.default
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _fault(detail: ErrorDetails, config: type[Config]) -> str:
    message = detail["msg"].removeprefix("Value error, ")
    if not detail["loc"]:
        return message
    name = str(detail["loc"][0])
    field = config.model_fields.get(name)
    extra = field.json_schema_extra if field and isinstance(field.json_schema_extra, dict) else {}
    return f"{name.upper() if extra.get('argument') else '--' + name.replace('_', '-')}: {message}"
