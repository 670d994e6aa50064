"""Recipes: options of `bertwire train` in a YAML file, which repeat how a run trained, on the same rows or others."""

from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from bertwire_core.errors import UserError
from bertwire_trainer.methods import DEFAULT, METHODS
from bertwire_trainer.methods.options import flag, owners
from bertwire_trainer.trust.options import TrustOptions

if TYPE_CHECKING:
    from bertwire_trainer.prepare import Prepared

NAME = "recipe.yaml"
# Options that say what is trained on and where the result goes; a recipe says how.
_ROWS = ("train", "dev", "test", "sheet", "dataset", "dataset_config", "train_split", "dev_split", "test_split")
_COLUMNS = ("text_column", "text_pair_column", "label_column")
NOT_HOW = frozenset(
    (*_ROWS, *_COLUMNS, "output", "overwrite", "resume", "recipe", "report", *TrustOptions.model_fields)
)


def read_recipe(path: Path, config: type[BaseModel], method: str | None) -> dict[str, Any]:
    """Return the options that a recipe sets.

    Args:
        path: the file.
        config: the class whose fields are the options of `bertwire train`.
        method: the method given beside the recipe, which wins over the recipe's; None: none is given.

    Raises:
        UserError: the file is faulty; the message names every fault.
    """
    values = read_mapping(path)
    method = method or str(values.get("method", DEFAULT))
    require_no_fault(path, [fault for name, value in values.items() if (fault := _fault(name, value, config, method))])
    return {name: value for name, value in values.items() if value is not None}


def read_mapping(path: Path) -> dict[str, Any]:
    """Return what a YAML file holds by name; raise `UserError` where it is no such file."""
    import yaml

    try:
        values = yaml.safe_load(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: no such file" if not path.exists() else f"{path}: {error.strerror}") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise UserError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise UserError(f"{path} has no options by name; write one on each line, such as epochs: 3")
    return {str(name): value for name, value in values.items()}


def require_no_fault(path: Path | str, faults: list[str]) -> None:
    """Raise `UserError` where a file has faults, with all of them."""
    if faults:
        raise UserError(f"{path}: {'; '.join(faults)}")


def _fault(name: str, value: object, config: type[BaseModel], method: str) -> str | None:
    if fault := unknown(name, config) or invalid(name, value, config):
        return fault
    of = owners(name)
    if value is not None and of and method in METHODS and method not in of:
        return f"{name}: is an option of method {' and '.join(of)}; this is {method}"
    return None


def unknown(name: str, config: type[BaseModel]) -> str | None:
    """Return what is wrong with the name of an option in a file; None where nothing is."""
    if name in NOT_HOW:
        return f"{name}: what is read, measured and written is no part of the file; pass {flag(name)}"
    if name in config.model_fields:
        return None
    near = get_close_matches(name.replace("-", "_"), sorted({*config.model_fields} - NOT_HOW), n=1)
    return f"{name}: no such option" + (f"; is {near[0]} meant?" if near else " of bertwire train")


def invalid(name: str, value: object, config: type[BaseModel]) -> str | None:
    """Return what is wrong with the value of an option; None where nothing is."""
    field = config.model_fields[name]
    kind: Any = Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation
    try:
        TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        said = reason.removeprefix("Value error, ")
        return f"{name}: {said}" if said != reason else f"{name}: {reason}, not {value!r}"
    return None


def recipe_of(prepared: "Prepared", precision: str) -> dict[str, Any]:
    """Return the options that determine a run, but for its rows; of absolute paths the name alone.

    Args:
        prepared: the run.
        precision: the arithmetic that it was trained in.
    """
    config, base = prepared.config, prepared.base
    model = f"./{base.name}" if Path(config.model).is_absolute() else config.model
    fixed = {"model": model, "precision": precision}
    values = config.model_dump(exclude=set(NOT_HOW)) | fixed | prepared.options.model_dump()
    for name, stage in config.stages.items():
        # What a stage records of a text, such as a command, has no absolute path.
        shown = {key: value for key, value in prepared.stages[name].recorded().items() if isinstance(value, str)}
        own = stage.model_dump()
        values |= own | {key: value for key, value in shown.items() if key in own}
    return {name: _plain(value) for name, value in values.items() if value is not None and value != []}


def _plain(value: Any) -> Any:  # noqa: ANN401 - an option's value
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, Path):
        return value.name if value.is_absolute() else str(value)
    return str(value) if isinstance(value, str) else value


def write_recipe(path: Path, values: dict[str, Any]) -> None:
    """Write a recipe."""
    import yaml

    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
    path.write_text(
        f"# bertwire train --recipe {path.name} and the files of rows repeats this run.\n{text}", encoding="utf-8"
    )
