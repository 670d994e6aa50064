"""Argilla 2: records as `dataset.records.from_json` reads and `dataset.records.to_json` writes them.

https://docs.argilla.io/latest/reference/argilla/records/records/ has the format. The field is `text`, the question
`label`: a label, several labels, spans of the field, or for numbers a text.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from bertwire_trainer.labelling.forms import Answer, Mark, Question
from bertwire_trainer.labelling.tools.only import only

_QUESTION = "label"


def write(question: Question) -> dict[str, Any]:
    """Return a record with the suggestion. Without an `id`, so that no other record of the dataset is replaced."""
    suggestion = {"value": _value(question), "score": question.confidence, "agent": "bertwire"}
    if question.form in ("labels", "marks"):
        # One score a label or span is expected, which the confidence in all of them is not.
        suggestion["score"] = None
    suggested = suggestion["value"] not in (None, [])
    return {"fields": question.texts, "suggestions": {_QUESTION: suggestion} if suggested else {}}


def _value(question: Question) -> Any:  # noqa: ANN401 - of the kind of question
    if question.form == "marks":
        return [{"start": mark.start, "end": mark.end, "label": mark.label} for mark, *_ in question.marks()]
    # Argilla's ratings are whole numbers from 0 to 10; a text holds any number.
    return f"{question.suggestion:.6g}" if question.form == "number" else question.suggestion


def is_export(record: dict[str, Any]) -> bool:
    """Return whether a record is one of Argilla's."""
    return isinstance(record.get("fields"), dict) and "responses" in record


def read(record: dict[str, Any], question: str | None, text: str) -> Iterator[Answer]:
    """Yield the answer of each person to `question`, or to the only one; none of what is a draft or was discarded."""
    responses: dict[str, list[dict[str, Any]]] = record["responses"] or {}
    for response in only(responses, question, "question"):
        if response.get("status", "submitted") != "submitted":
            continue
        texts = tuple(record["fields"][name] for name in (text, "text_pair") if name in record["fields"])
        yield _answered(Answer(texts, str(response.get("user_id") or "")), response["value"])


def _answered(answer: Answer, value: Any) -> Answer:  # noqa: ANN401 - of the kind of question
    if isinstance(value, list):
        if any(isinstance(each, dict) for each in value):
            return replace(answer, marks=[Mark(each["start"], each["end"], each["label"]) for each in value])
        return replace(answer, labels=value, several=True)
    if isinstance(value, int | float):
        return replace(answer, number=float(value))
    return replace(answer, labels=[value])
