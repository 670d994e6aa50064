"""Conversion of rows to texts, and of results to added columns."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol, cast

from bertwire_batch.answers import Kept, Text
from bertwire_client.replies import ModelInfo, Result
from bertwire_core.tasks import Task, TaskTable
from bertwire_data.tables import Batch

# Default column of the second text.
TEXT_PAIR = "text_pair"


class Wanted(Protocol):
    """Settings that the columns depend on; see `ScoreConfig`."""

    @property
    def text_column(self) -> str: ...  # noqa: D102

    @property
    def text_pair_column(self) -> str | None: ...  # noqa: D102

    @property
    def prefix(self) -> str: ...  # noqa: D102

    @property
    def all_scores(self) -> bool: ...  # noqa: D102

    @property
    def threshold(self) -> float | None: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Decision:
    """The added columns of a task.

    Attributes:
        columns: names and types of the columns.
        values: returns their values for a result.
        best_alone: whether they need only the best label.
        has_scores: whether each label has a score.
    """

    columns: dict[str, type]
    values: Callable[[Result], dict[str, Any]]
    best_alone: bool = False
    has_scores: bool = False


def _label(result: Result) -> dict[str, Any]:
    best = result.labels[0]
    # Where it is below its threshold or the model abstains, the best label is not predicted, but its score is kept.
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
    """The columns to read and to add.

    Attributes:
        texts: the text column, and for pairs that of the second text.
        prefix: prefix of their names.
        model: name and version of the model, and the threshold that was asked for.
        rules: whether the model has rules.
        abstains: whether the model can abstain, which has a column of its own.
    """

    texts: tuple[str, ...]
    decision: Decision
    prefix: str
    all_scores: bool
    model: str
    rules: bool = False
    abstains: bool = False

    @property
    def top_k(self) -> int | None:
        """Return the number of labels to request per text; None: all."""
        return 1 if self.decision.best_alone and not self.all_scores else None

    def added_columns(self) -> dict[str, type]:
        """Return names and types of the added columns, in file order."""
        columns = {**self.decision.columns, "truncated": bool, "error": str, **self._further(), "model": str}
        return {self.prefix + name: kind for name, kind in columns.items()}

    def _further(self) -> dict[str, type]:
        """Return the columns that not every model or job has."""
        columns: dict[str, type] = {"abstained": bool} if self.abstains else {}
        if self.all_scores:
            columns["scores"] = dict
        if self.rules:
            columns["rules"] = list
        return columns

    def kept(self, result: Result) -> str:
        """Return what is kept of a result: a JSON object of its columns."""
        values = self.decision.values(result) | {"truncated": result.truncated}
        if self.abstains:
            values["abstained"] = result.abstained
        if self.all_scores:
            values["scores"] = {each.label: _rounded(each.score) for each in result.labels}
        if self.rules:
            values["rules"] = list(result.rules)
        return json.dumps(values, ensure_ascii=False)

    def kept_all(self, outcomes: Sequence[Result | str]) -> list[Kept]:
        """Return what is kept of the outcome of each text: its result, or why it has none."""
        return [(None, each) if isinstance(each, str) else (self.kept(each), None) for each in outcomes]

    def kept_of(self, row: dict[str, Any]) -> str | None:
        """Return what to keep of the result in a row of an earlier output; None for another model or threshold.

        Raises:
            ValueError: the row lacks a column, or holds a value that is none of it.
        """
        if row.get(self.prefix + "model") != self.model or row.get(self.prefix + "error"):
            return None
        columns = {**self.decision.columns, "truncated": bool, **self._further()}
        values = {name: _typed(row, self.prefix + name, kind) for name, kind in columns.items()}
        return json.dumps(values, ensure_ascii=False)

    def added_values(self, kept: Kept) -> dict[str, Any]:
        """Return the added columns of a row, without columns that have no value."""
        value, error = kept
        values = {"error": error} if value is None else json.loads(value) | {"model": self.model}
        return {self.prefix + name: value for name, value in values.items()}

    def texts_and_faults(self, batch: Batch) -> tuple[list[Text], list[str | None]]:
        """Return the texts to classify, and per row of the batch why it has none, or None."""
        faults = [error or self._fault(row) for row, error in zip(batch.rows, batch.errors, strict=True)]
        return [self._text(row) for row, fault in zip(batch.rows, faults, strict=True) if fault is None], faults

    def _fault(self, row: dict[str, Any]) -> str | None:
        return next((fault for column in self.texts if (fault := text_fault(row, column))), None)

    def _text(self, row: dict[str, Any]) -> Text:
        first, *second = (row[column] for column in self.texts)
        return (first, second[0]) if second else first


def choose_form(config: Wanted, model: ModelInfo) -> Form:
    """Return the columns for a model; raise `ValueError` where an option does not fit it."""
    if model.dimensions and not model.labels:
        raise ValueError("the model gives embeddings, and no labels; bertwire embed writes them")
    try:
        decision = _DECISIONS[cast(Task, model.task)]
    except ValueError:
        raise ValueError(f"the model's task, {model.task!r}, is not known to this client") from None
    if config.all_scores and not decision.has_scores:
        raise ValueError(f"--all-scores is for labels, and the model is one of {model.task}")
    if config.text_pair_column is not None and not model.text_pairs:
        raise ValueError("--text-pair-column is for a model of text pairs, and the model reads single texts")
    second = (config.text_pair_column or TEXT_PAIR,) if model.text_pairs else ()
    return Form(
        (config.text_column, *second),
        decision,
        config.prefix,
        config.all_scores,
        _made_by(config, model),
        rules=bool(model.rules),
        abstains=model.abstains,
    )


def _made_by(config: Wanted, model: ModelInfo) -> str:
    """Return the value of the column `model`, by which --only-new tells answers that are the same."""
    own = f"{model.name}/{model.version}"
    return own if config.threshold is None else f"{own} threshold={config.threshold}"


def _typed(row: dict[str, Any], column: str, kind: type) -> Any:  # noqa: ANN401 - whatever a column holds
    """Return a value of an earlier output, which some formats hold as a string.

    Raises:
        ValueError: the row lacks the column, or its value is not of the type.
    """
    if column not in row:
        raise ValueError(f"there is no {column!r}, as there is with the same options")
    value = row[column]
    if kind is str and not value:
        return None
    if isinstance(value, str) and kind is not str:
        try:
            value = json.loads(value)
        except ValueError:
            value = None
    if kind is float and type(value) in (int, float) and math.isfinite(value):
        return value
    if kind is float or not isinstance(value, kind):
        raise ValueError(f"{column!r} is {row[column]!r}, which is no {kind.__name__}")
    return value


def _rounded(score: float) -> float:
    # Digits of a float32.
    return round(score, 7)


def text_fault(row: dict[str, Any], column: str) -> str | None:
    """Return why a row has no valid text, or None."""
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
