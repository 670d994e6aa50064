"""Texts to choose from: read, freed of repetitions and of labelled ones, and drawn by chance."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bertwire_core.errors import UserError, first_line
from bertwire_core.files import unicode_name
from bertwire_core.tasks import Task
from bertwire_data.columns import TEXT, TEXT_PAIR, WORDS, Columns
from bertwire_data.labelled import Labelled
from bertwire_data.labelled.survey import Survey
from bertwire_data.tables import Batch, open_table
from bertwire_data.tasks import TASK_ROWS
from bertwire_data.tasks.base import Input
from bertwire_data.tasks.cells import Fault, Row, as_list, read_text
from bertwire_data.texts import read_texts
from bertwire_trainer.labelling.words import split, squeezed

# Rows read at a time; with half as many Parquet files are read in twice as many pieces.
_BATCH_ROWS = 4096


@dataclass(frozen=True, slots=True)
class Pool:
    """Unlabelled texts in memory.

    Attributes:
        read: the texts as a model reads them; its targets are empty.
        shown: the texts as people read them: one, or two for pairs.
    """

    read: Labelled
    shown: list[tuple[str, ...]]

    def __len__(self) -> int:
        return len(self.shown)

    def take(self, indices: list[int]) -> "Pool":
        """Return the texts at `indices`, in that order."""
        return Pool(self.read.take(indices), [self.shown[index] for index in indices])

    def spellings(self) -> list[str]:
        """Return for each text what it has in common with repetitions of it."""
        return ["\n".join(map(squeezed, texts)) for texts in self.shown]

    def without(self, spellings: Collection[str]) -> "Pool":
        """Return the first of every repeated text, without those that have one of `spellings`."""
        every = reversed(list(enumerate(self.spellings())))
        first = {each: index for index, each in every if each not in spellings}
        return self.take(sorted(first.values()))


def read_pool(
    path: Path, chosen: Columns, task: Task | None, pairs: bool | None = None, *, written: bool = False
) -> Pool:
    """Read the texts of a table, whose other columns are ignored, or the lines of a .txt file that are not blank.

    A .txt file that `bertwire label-read` may have written is a table, as for training.

    Args:
        path: the file.
        chosen: the columns to read.
        task: what the texts are for; None: whole texts, or lists of words where the file has such a column.
        pairs: whether to read pairs of texts; None: where the file has a column of second texts.
        written: whether the file may have the columns that `bertwire label-read` writes in place of the chosen ones.

    Raises:
        UserError: the file or a column is missing, it has no rows, or a row has no text.
    """
    if path.suffix.lower() == ".txt" and not written:
        return _of_lines(path, task, pairs)
    with open_table(path) as reader:
        delimited = reader.delimited
    survey = Survey({}, delimited)
    survey.add(_batches(path), ())
    if written and not survey.has(chosen.text):
        chosen = Columns()
    task = _task(chosen, survey) if task is None else task
    columns = _columns(TASK_ROWS[task].columns(chosen, survey.present), pairs)
    for name in filter(None, (columns.text, columns.text_pair)):
        if survey.present and name not in survey.present:
            raise UserError(
                f"{path} has no column {name!r}; it has {', '.join(map(repr, survey.present))}: "
                "choose with --text-column and --text-pair-column"
            )
    inputs, shown, rows = [], [], []
    for number, row in _rows(path):
        try:
            texts, each = _read(row, task, columns, delimited)
        except Fault as fault:
            raise UserError(f"{path} row {number}: {fault}; correct or remove rows without a text") from None
        inputs.append(each)
        shown.append(texts)
        rows.append(number)
    if not rows:
        raise UserError(f"{path} has no rows; add texts")
    targets: list[Any] = [[]] * len(rows)
    return Pool(Labelled(unicode_name(path), task, inputs, targets, rows, columns), shown)  # type: ignore[arg-type]


def _of_lines(path: Path, task: Task | None, pairs: bool | None) -> Pool:
    if pairs:
        raise UserError(f"{path} has one text a line, and pairs of texts are read; give a table with both")
    texts = read_texts(path, TEXT, "--text-column")
    task = _task(Columns(), Survey({}, delimited=False)) if task is None else task
    inputs: list[Any] = [*map(split, texts)] if TASK_ROWS[task].by_word else texts
    rows = [*range(1, len(texts) + 1)]
    targets: list[Any] = [[]] * len(texts)
    return Pool(Labelled(unicode_name(path), task, inputs, targets, rows, Columns()), [(each,) for each in texts])


def _columns(found: Columns, pairs: bool | None) -> Columns:
    second = found.text_pair if pairs is None else (found.text_pair or TEXT_PAIR) if pairs else None
    return Columns(found.text, second)


def _task(chosen: Columns, survey: Survey) -> Task:
    """Return a task that reads the texts as the file has them; which one of several makes no difference."""
    by_word = chosen.text == TEXT and survey.has(WORDS) and not survey.has(TEXT)
    return next(task for task, rows in TASK_ROWS.items() if rows.by_word == by_word)


def _read(row: Row, task: Task, columns: Columns, delimited: bool) -> tuple[tuple[str, ...], Input]:
    if TASK_ROWS[task].by_word and as_list(row.get(columns.text), delimited=delimited) is None:
        text = read_text(row, columns.text, delimited=delimited)
        return (text,), split(text)
    read = TASK_ROWS[task].read_input(row, columns, delimited=delimited)
    if isinstance(read, list):
        return (" ".join(read),), read
    return (read,) if isinstance(read, str) else read, read


def _rows(path: Path) -> Iterator[tuple[int, Row]]:
    for batch in _batches(path):
        for number, (row, error) in enumerate(zip(batch.rows, batch.errors, strict=True), batch.start):
            if error:
                raise UserError(f"{path} row {number}: {error}; correct or remove it")
            yield number, row


def _batches(path: Path) -> Iterator[Batch]:
    with open_table(path) as reader:
        try:
            yield from reader.batches(_BATCH_ROWS)
        except ValueError as error:  # pyarrow's errors on damaged data and bytes that are not UTF-8
            raise UserError(f"{path} cannot be read: {first_line(error)}") from error
