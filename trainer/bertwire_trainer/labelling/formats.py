"""The annotation tools that texts are written for and answers are read from."""

from collections.abc import Callable, Iterator
from typing import Any, Protocol

from bertwire_trainer.labelling.config import Format
from bertwire_trainer.labelling.forms import Answer, Question
from bertwire_trainer.labelling.tools import argilla, label_studio, plain, prodigy


class Export(Protocol):
    """The module of a tool whose exports are read."""

    def is_export(self, record: dict[str, Any]) -> bool:
        """Return whether a record comes from the tool."""

    def read(self, record: dict[str, Any], question: str | None, text: str) -> Iterator[Answer]:
        """Yield what people answered; `text` is the name of the field with the text."""


WRITERS: dict[Format, Callable[[Question], dict[str, Any]]] = {
    "jsonl": plain.write,
    "prodigy": prodigy.write,
    "argilla": argilla.write,
    "label-studio": label_studio.write,
}
EXPORTS: tuple[Export, ...] = (prodigy, argilla, label_studio)
