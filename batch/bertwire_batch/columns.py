"""Rows in, texts out; results in, added columns out."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, cast

from bertwire_batch.config import ScoreConfig
from bertwire_client.replies import ModelInfo, Result
from bertwire_core.tasks import Task, TaskTable
from bertwire_data.tables import Batch

# The answer to one row: its result, or why it has none.
Outcome = Result | str
# A text, or a pair of them.
Text = str | tuple[str, str]
# The column of the second text, where no other is named.
TEXT_PAIR = "text_pair"


@dataclass(frozen=True, slots=True)
class Decision:
    """What is added to a row of a task.

    Attributes:
        columns: names and types of the columns.
        values: makes their values of a result.
        best_alone: whether the best label is enough to decide.
        has_scores: whether each label has a score of its own.
    """

    columns: dict[str, type]
    values: Callable[[Result], dict[str, Any]]
    best_alone: bool = False
    has_scores: bool = False


def _label(result: Result) -> dict[str, Any]:
    best = result.labels[0]
    # A best label below the threshold is not decided for, and its score says by how much.
    return {"label": best.label if best.predicted else None, "score": _rounded(best.score)}


def _labels(result: Result) -> dict[str, Any]:
    return {"labels": list(result.predicted)}


def _entities(result: Result) -> dict[str, Any]:
    return {"entities": [asdict(each) | {"score": _rounded(each.score)} for each in result.entities]}


def _value(result: Result) -> dict[str, Any]:
    return {"value": float(f"{result.labels[0].score:.8g}")}


_DECISIONS: TaskTable[Decision] = TaskTable(
    {
        "single_label": Decision({"label": str, "score": float}, _label, best_alone=True, has_scores=True),
        "multi_label": Decision({"labels": list}, _labels, has_scores=True),
        "token_classification": Decision({"entities": list}, _entities),
        "regression": Decision({"value": float}, _value),
    }
)


@dataclass(frozen=True, slots=True)
class Form:
    """Which columns are read and added.

    Attributes:
        texts: the column of the text, and for pairs that of the second.
        decision: what is added.
        prefix: what the names of the added columns begin with.
        all_scores: whether every label's score is added.
    """

    texts: tuple[str, ...]
    decision: Decision
    prefix: str
    all_scores: bool

    @property
    def top_k(self) -> int | None:
        """How many labels of a text are asked for; None: all."""
        return 1 if self.decision.best_alone and not self.all_scores else None

    def added_columns(self) -> dict[str, type]:
        """Names and types of the added columns, in file order."""
        columns = {**self.decision.columns, "truncated": bool, "error": str}
        if self.all_scores:
            columns["scores"] = dict
        return {self.prefix + name: kind for name, kind in columns.items()}

    def added_values(self, outcome: Outcome) -> dict[str, Any]:
        """The added columns of one row; a column without a value is left out."""
        if isinstance(outcome, str):
            return {self.prefix + "error": outcome}
        values = self.decision.values(outcome) | {"truncated": outcome.truncated}
        if self.all_scores:
            values["scores"] = {each.label: _rounded(each.score) for each in outcome.labels}
        return {self.prefix + name: value for name, value in values.items()}

    def texts_and_faults(self, batch: Batch) -> tuple[list[Text], list[str | None]]:
        """The texts to classify, and for each row of the batch why it has none, or None."""
        faults = [error or self._fault(row) for row, error in zip(batch.rows, batch.errors, strict=True)]
        return [self._text(row) for row, fault in zip(batch.rows, faults, strict=True) if fault is None], faults

    def _fault(self, row: dict[str, Any]) -> str | None:
        return next((fault for column in self.texts if (fault := text_fault(row, column))), None)

    def _text(self, row: dict[str, Any]) -> Text:
        first, *second = (row[column] for column in self.texts)
        return (first, second[0]) if second else first


def choose_form(config: ScoreConfig, model: ModelInfo) -> Form:
    """The columns for a model; raises `ValueError` where an option does not fit it, with a message that says which."""
    try:
        decision = _DECISIONS[cast(Task, model.task)]
    except ValueError:
        raise ValueError(f"the model's task, {model.task!r}, is not known to this client") from None
    if config.all_scores and not decision.has_scores:
        raise ValueError(f"--all-scores is for labels, and the model is one of {model.task}")
    if config.text_pair_column is not None and not model.text_pairs:
        raise ValueError("--text-pair-column is for a model of text pairs, and the model reads single texts")
    second = (config.text_pair_column or TEXT_PAIR,) if model.text_pairs else ()
    return Form((config.text_column, *second), decision, config.prefix, config.all_scores)


def _rounded(score: float) -> float:
    # The server's 32-bit floats have no more digits than this to give.
    return round(score, 7)


def text_fault(row: dict[str, Any], column: str) -> str | None:
    """Why a row has no text that could be classified, or None."""
    text = row.get(column)
    if text is None:
        return f"the row has no {column!r}"
    if not isinstance(text, str):
        return f"{column!r} is not a string but {type(text).__name__}"
    if not text.strip():
        return f"{column!r} is blank"
    try:
        text.encode()
    except UnicodeEncodeError:
        return f"{column!r} is not UTF-8"
    return None
