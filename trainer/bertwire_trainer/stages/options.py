"""The options of all stages as options of one command."""

from typing import Any

from pydantic.fields import FieldInfo

from bertwire_core.errors import UserError
from bertwire_core.options import validated
from bertwire_trainer.methods.options import flag, optional, set_by_user
from bertwire_trainer.stage import StageOptions
from bertwire_trainer.stages import STAGES


def stage_fields() -> dict[str, Any]:
    """Return a field for each option of any stage, for pydantic's `create_model`; None: the stage's own default."""
    return {
        name: optional(name, field, _described(stage, name, field))
        for stage, each in STAGES.items()
        for name, field in each.Options.model_fields.items()
    }


def asked_for(given: dict[str, Any]) -> dict[str, StageOptions]:
    """Return the options of each stage that is asked for, in the order of the table.

    Args:
        given: the options that the user set; those that are None or empty are not set.

    Raises:
        UserError: an option belongs to a stage that is not asked for, or is out of range.
    """
    values, asked = set_by_user(given), {}
    for stage, each in STAGES.items():
        own = {name: values[name] for name in each.Options.model_fields if name in values}
        # A recipe can say false.
        if own.get(stage):
            asked[stage] = validated(each.Options, own)
        elif others := [name for name in own if name != stage]:
            raise UserError(f"{flag(others[0])} needs {flag(stage)}")
    return asked


def _described(stage: str, name: str, field: FieldInfo) -> str:
    """Return the help text, with the default of an option that does not ask for the stage itself."""
    if name == stage or field.default in (None, False, []):
        return field.description or ""
    return f"{field.description} [default: {field.default}]"
