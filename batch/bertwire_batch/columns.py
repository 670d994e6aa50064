"""Rows in, texts out; results in, added columns out."""

from dataclasses import asdict, dataclass
from typing import Any

from bertwire_batch.config import ScoreConfig
from bertwire_client.replies import ModelInfo, Result
from bertwire_data.tables import Batch

# The answer to one row: its result, or why it has none.
Outcome = Result | str
# A text, or a pair of them.
Text = str | tuple[str, str]
# The column of the second text, where no other is named.
TEXT_PAIR = "text_pair"

_DECISIONS: dict[str, dict[str, type]] = {
    "single_label": {"label": str, "score": float},
    "multi_label": {"labels": list},
    "token_classification": {"entities": list},
    "regression": {"value": float},
}


@dataclass(frozen=True, slots=True)
class Form:
    """Which columns are read and added.

    Attributes:
        texts: the column of the text, and for pairs that of the second.
        task: what the model answers.
        prefix: what the names of the added columns begin with.
        all_scores: whether every label's score is added.
    """

    texts: tuple[str, ...]
    task: str
    prefix: str
    all_scores: bool

    @property
    def top_k(self) -> int | None:
        """How many labels of a text are asked for; None: all."""
        return 1 if self.task == "single_label" and not self.all_scores else None

    def added_columns(self) -> dict[str, type]:
        """Names and types of the added columns, in file order."""
        columns = {**_DECISIONS[self.task], "truncated": bool, "error": str}
        if self.all_scores:
            columns["scores"] = dict
        return {self.prefix + name: kind for name, kind in columns.items()}

    def added_values(self, outcome: Outcome) -> dict[str, Any]:
        """The added columns of one row; a column without a value is left out."""
        if isinstance(outcome, str):
            return {self.prefix + "error": outcome}
        values = _decision(outcome, self.task) | {"truncated": outcome.truncated}
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
    task = model.task
    if task not in _DECISIONS:
        raise ValueError(f"the model's task, {task!r}, is not known to this client")
    if config.all_scores and not task.endswith("_label"):
        raise ValueError(f"--all-scores is for labels, and the model is one of {task}")
    if config.text_pair_column is not None and not model.text_pairs:
        raise ValueError("--text-pair-column is for a model of text pairs, and the model reads single texts")
    second = (config.text_pair_column or TEXT_PAIR,) if model.text_pairs else ()
    return Form((config.text_column, *second), task, config.prefix, config.all_scores)


def _decision(result: Result, task: str) -> dict[str, Any]:
    if task == "token_classification":
        return {"entities": [asdict(each) | {"score": _rounded(each.score)} for each in result.entities]}
    if task == "multi_label":
        return {"labels": list(result.predicted)}
    best = result.labels[0]
    if task == "regression":
        return {"value": float(f"{best.score:.8g}")}
    # A best label below the threshold is not decided for, and its score says by how much.
    return {"label": best.label if best.predicted else None, "score": _rounded(best.score)}


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
