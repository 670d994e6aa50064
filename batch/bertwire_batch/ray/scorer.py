"""What an actor of the pool runs."""

import asyncio
from pathlib import Path

import pyarrow

from bertwire_batch.answers import Kept
from bertwire_batch.bundle import InProcess
from bertwire_batch.columns import Form
from bertwire_batch.tally import Tally
from bertwire_client.requests import Options
from bertwire_core.errors import UserError
from bertwire_data.tables import Batch
from bertwire_data.tables.parquet import arrow_columns, arrow_fields, arrow_rows


class Scorer:
    """A bundle's predictor on one CPU, and the columns that its results become."""

    def __init__(self, bundle: Path, sha256: str | None, form: Form, threshold: float | None) -> None:
        """Load the bundle.

        Raises:
            UserError: it cannot be used, or is not the one of that digest.
        """
        self._engine = InProcess(bundle, Tally(), threads=1)
        if self._engine.sha256 != sha256:
            raise UserError(f"{bundle} is another bundle on this node than where the job began; copy that one to it")
        self._form, self._fields = form, arrow_fields(form.added_columns())
        self._asked: Options = {"top_k": form.top_k, "threshold": threshold}

    def __call__(self, block: pyarrow.Table) -> pyarrow.Table:
        """Return rows with the predictions added."""
        rows = arrow_rows(block.select(list(self._form.texts)))
        texts, faults = self._form.texts_and_faults(Batch(1, rows, [None] * len(rows), None))
        answers = iter(self._form.kept_all(asyncio.run(self._engine.classify(texts, self._asked))))
        kept: list[Kept] = [next(answers) if fault is None else (None, fault) for fault in faults]
        columns = arrow_columns(self._fields, [self._form.added_values(each) for each in kept])
        for field, column in zip(self._fields, columns, strict=True):
            block = block.append_column(field, column)
        return block
