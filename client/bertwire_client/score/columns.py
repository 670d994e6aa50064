"""Rows in, texts out; results in, added columns out."""

from typing import Any

from bertwire_client.replies import Result
from bertwire_client.tables import Batch

# The answer to one row: its result, or why it has none.
Outcome = Result | str


def added_columns(prefix: str, all_scores: bool) -> dict[str, type]:
    """Names and types of the added columns, in file order."""
    columns = {"label": str, "score": float, "truncated": bool, "error": str}
    if all_scores:
        columns["scores"] = dict
    return {prefix + name: kind for name, kind in columns.items()}


def added_values(outcome: Outcome, prefix: str) -> dict[str, Any]:
    """The added columns of one row; a column without a value is left out."""
    if isinstance(outcome, str):
        return {prefix + "error": outcome}
    scores = {each.label: _rounded(each.score) for each in outcome.labels}
    values = {"label": outcome.label, "score": _rounded(outcome.score), "truncated": outcome.truncated}
    return {prefix + name: value for name, value in (values | {"scores": scores}).items()}


def _rounded(score: float) -> float:
    # The server's 32-bit floats have no more digits than this to give.
    return round(score, 7)


def texts_and_faults(batch: Batch, column: str) -> tuple[list[str], list[str | None]]:
    """The texts to classify, and for each row of the batch why it has none, or None."""
    faults = [error or text_fault(row, column) for row, error in zip(batch.rows, batch.errors, strict=True)]
    return [row[column] for row, fault in zip(batch.rows, faults, strict=True) if fault is None], faults


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
