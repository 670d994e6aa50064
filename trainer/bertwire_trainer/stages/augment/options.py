"""The options of augmentation."""

from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import Field

from bertwire_core.errors import UserError
from bertwire_core.options import needs
from bertwire_trainer.stage import StageOptions


# Not a Literal, of which typer reads no lists.
class Way(StrEnum):
    """A way to make copies."""

    DELETE = "delete"
    SWAP = "swap"
    MASK = "mask"
    SYNONYMS = "synonyms"
    COMMAND = "command"


# The option that a way needs.
_NEEDS = {Way.SYNONYMS: "augment_synonyms", Way.COMMAND: "augment_command"}


class AugmentOptions(StageOptions):
    """Which ways, how many copies, and what the ways need."""

    augment: list[Way] = Field(
        [],
        description="Add changed copies of the rows of train: words deleted, words swapped, words that the encoder's "
        "masked-language-modelling head predicts (mask), synonyms, or what a command makes of the texts; once for "
        "each way.",
    )
    augment_copies: int = Field(1, ge=1, description="Copies of each row that each way makes.")
    augment_share: float = Field(
        0.1,
        gt=0,
        lt=1,
        json_schema_extra=needs("augment", Way.DELETE, Way.SWAP, Way.MASK, Way.SYNONYMS),
        description="Share of a text's words, at least one, that a way other than command changes.",
    )
    augment_synonyms: Path | None = Field(
        None,
        json_schema_extra=needs("augment", Way.SYNONYMS),
        description="JSON file for synonyms: one object, from each word to the list of its synonyms.",
    )
    augment_command: str | None = Field(
        None,
        json_schema_extra=needs("augment", Way.COMMAND),
        description="Program and arguments for command, such as a back-translation. It reads texts from standard "
        "input and writes as many to standard output, each a JSON string on a line.",
    )

    def require_complete(self) -> None:
        """Raise `UserError` where a way lacks the option that it needs."""
        for way, name in _NEEDS.items():
            if way in self.augment and getattr(self, name) is None:
                raise UserError(f"--augment {way} needs --{name.replace('_', '-')}")

    def recorded(self) -> dict[str, Any]:
        """Return the options that are numbers or names."""
        return self.model_dump(mode="json", include={"augment", "augment_copies", "augment_share"})
