"""The options of what is measured beside the scores on dev and test."""

from importlib.util import find_spec
from typing import Any

from pydantic import Field

from bertwire_core.errors import UserError
from bertwire_core.options import Config

# The value of --identity-terms that means the list of bertwire.
BUILTIN = "builtin"


class TrustOptions(Config):
    """What is measured beside the scores on dev and test."""

    folds: int | None = Field(
        None,
        ge=2,
        description="Also measure the method by so many folds of train and dev together, each scored by a model that "
        "was trained without it; takes as many trainings more. For few rows, whose dev says little.",
    )
    robustness: bool = Field(
        False,
        description="Also score small edits of dev texts, such as typos, case and names, and count the decisions that "
        "change; at most 1,000 texts.",
    )
    fairness_column: list[str] = Field(
        [], description="Column of the dev and test rows whose values are groups to score apart; once for each column."
    )
    identity_terms: str | None = Field(
        None,
        description="Score the texts apart that mention groups of people: builtin (English words of gender, religion "
        "and nationality) or a JSON file of group names and their words.",
    )

    def require_packages(self) -> None:
        """Raise `UserError` where fairness is asked for and fairlearn is not installed."""
        asked = "--fairness-column" if self.fairness_column else "--identity-terms"
        if (self.fairness_column or self.identity_terms) and find_spec("fairlearn") is None:
            raise UserError(f"{asked} needs fairlearn: pip install '.[report]' in the folder of bertwire's source")


def trust_fields() -> dict[str, Any]:
    """Return a field for each option, for pydantic's `create_model`."""
    return {name: (field.annotation, field) for name, field in TrustOptions.model_fields.items()}
