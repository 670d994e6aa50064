"""What jobs differ in."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from bertwire_batch.answers import Kept, Text
from bertwire_batch.engines import Engine
from bertwire_data.tables import Batch, TableReader


class RowWriter(Protocol):
    """A table being written."""

    def write(self, batch: Batch, kept: Sequence[Kept]) -> None:
        """Write rows, each with what is kept of its text's result, or why it has none."""


class Work(Protocol):
    """A job's part of the work.

    Attributes:
        name: for progress.
        options: what the answers depend on besides text and model.
    """

    name: str
    options: dict[str, Any]

    def known(self) -> Iterator[tuple[bytes, Kept]]:
        """Yield answers that need not be asked for."""

    def texts_and_faults(self, batch: Batch) -> tuple[list[Text], list[str | None]]:
        """Return the texts of a batch, and per row why it has none, or None."""

    async def ask(self, engine: Engine, texts: list[Text]) -> list[Kept]:
        """Return an engine's answers. Raise `UserError` where it has none for any text."""

    def output_name(self, name: Path) -> Path:
        """Return the name of an input's output in a folder."""

    def writer(self, path: Path, like: TableReader) -> AbstractContextManager[RowWriter]:
        """Create the output of a table."""
