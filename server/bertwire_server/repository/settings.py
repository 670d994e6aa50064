"""Settings of a repository in `models.toml`: versions to serve, and their names.

default = "sentiment"        # the model for requests that name none

[sentiment]
versions = 2                 # "all" (the default), how many of the highest, or a list: ["2", "3"]; and the two below
default = "2"                # the version for requests that name none; default: the highest
aliases = { stable = "2", canary = "3" }
"""

import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, RootModel, ValidationError
from pydantic_core import ErrorDetails

from bertwire_core.errors import UserError, first_line
from bertwire_core.options import Config, stray
from bertwire_runtime.bundle import Identifier
from bertwire_server.repository.entry import natural

FILE = "models.toml"
# Bytes, far above any real file; bounds the memory for a wrong one.
_MAX_BYTES = 1 << 20


class ModelSettings(Config):
    """Settings of one model, see the module's docstring."""

    versions: Literal["all"] | Annotated[int, Field(strict=True, ge=1)] | tuple[Identifier, ...] = "all"
    default: Identifier | None = None
    aliases: dict[Identifier, Identifier] = Field(default_factory=dict)

    def chosen(self, versions: Collection[str]) -> list[str]:
        """Return the versions to serve among those present, highest first; default and aliased ones included."""
        ordered = sorted(versions, key=natural, reverse=True)
        if self.versions == "all":
            return ordered
        wanted = {self.default, *self.aliases.values()}
        wanted.update(ordered[: self.versions] if isinstance(self.versions, int) else self.versions)
        return [each for each in ordered if each in wanted]


class _Models(RootModel[dict[Identifier, ModelSettings]]):
    model_config = ConfigDict(frozen=True)


class Settings:
    """Settings of all models.

    Attributes:
        default: the model for requests that name none; None: the only one, if there is one.
    """

    def __init__(self, default: str | None = None, models: Mapping[str, ModelSettings] | None = None) -> None:
        self.default, self._models = default, models or {}

    def of(self, name: str) -> ModelSettings:
        """Return a model's settings."""
        return self._models.get(name, _UNSET)

    def with_default(self, name: str) -> "Settings":
        """Return a copy with another default model."""
        return Settings(name, self._models)

    def faults(self, held: Mapping[str, Collection[str]]) -> list[str]:
        """Return the settings that do not match the repository's models and versions."""
        found = []
        if self.default is not None and self.default not in held:
            found.append(f"default: the repository has no model {self.default!r}")
        for name, settings in self._models.items():
            versions = held.get(name)
            if versions is None:
                found.append(f"{name}: the repository has no such model")
                continue
            named = {"default": settings.default, **{f"aliases.{key}": to for key, to in settings.aliases.items()}}
            if isinstance(settings.versions, tuple):
                named |= {f"versions[{index}]": each for index, each in enumerate(settings.versions)}
            for place, version in named.items():
                if version is not None and version not in versions:
                    found.append(f"{name}.{place}: the repository has no version {version!r} of it")
            found += [f"{name}.aliases.{key}: a version has this name" for key in settings.aliases if key in versions]
        return found


_UNSET = ModelSettings()


def read_settings(root: Path) -> Settings:
    """Read the repository's `models.toml`; defaults where there is none.

    Raises:
        UserError: it is unreadable or invalid; names every fault.
    """
    path = root / FILE
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        return Settings()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    if len(content) > _MAX_BYTES:
        raise UserError(f"{path}: has more than {_MAX_BYTES >> 20} MiB; give the right file")
    try:
        tables: dict[str, Any] = tomllib.loads(content.decode())
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: is not TOML: {first_line(error)}") from None
    default = tables.pop("default", None)
    strays = [each for each, value in tables.items() if not isinstance(value, dict)]
    tables = {name: value for name, value in tables.items() if isinstance(value, dict)}
    faults = [] if default is None or isinstance(default, str) else ["default: give the name of a model, as text"]
    faults += [f"{each}: no such setting; is default meant, or a table [{each}]?" for each in strays]
    try:
        models = _Models(tables)
    except ValidationError as error:
        faults += [_fault(detail) for detail in error.errors(include_input=False)]
        models = _Models({})
    if faults:
        raise UserError(f"{path}: {'; '.join(dict.fromkeys(faults))}")
    return Settings(default, models.root)


def _fault(detail: ErrorDetails) -> str:
    place, message = detail["loc"], detail["msg"]
    named = ".".join(str(each) for each in place if each != "[key]")
    # pydantic lists an error per alternative type.
    if "versions" in place:
        return f'{place[0]}.versions: give "all", a number of at least 1, or a list of versions as text: ["9"]'
    if detail["type"] == "extra_forbidden":
        return f"{named}: {stray(str(place[-1]), ModelSettings)}"
    if detail["type"] == "string_type":
        return f'{named}: give a version as text, such as "9"'
    return f"{named}: {message[0].lower()}{message[1:]}"
