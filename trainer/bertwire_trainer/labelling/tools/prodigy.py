"""Prodigy: tasks and annotations of its interfaces choice, classification, spans, ner_manual and text_input.

https://prodi.gy/docs/api-interfaces has the formats.
"""

from collections.abc import Iterator
from typing import Any

from bertwire_data.labelled import label_name
from bertwire_trainer.labelling.forms import Answer, Mark, Question

_STYLES = {"label": "single", "labels": "multiple"}
_MARKING = ("ner", "ner_manual", "spans", "spans_manual")
# Where text_input keeps what was typed, unless its `field_id` says otherwise.
_TYPED = "user_input"


def write(question: Question) -> dict[str, Any]:
    """Return a task with the suggestion chosen, marked or typed in beforehand, and the scores in its corner."""
    task: dict[str, Any] = {**question.texts, "meta": {"row": question.row} | question.scores()}
    if question.form in _STYLES:
        task["options"] = [{"id": label, "text": label} for label in question.choices]
        task["accept"] = question.names()
        task["config"] = {"choice_style": _STYLES[question.form]}
    elif question.form == "number":
        task[_TYPED] = f"{question.suggestion:.6g}"
    if question.places:
        task["tokens"] = _tokens(question.texts["text"], question.places)
        task["spans"] = [
            {"start": mark.start, "end": mark.end, "token_start": first, "token_end": last, "label": mark.label}
            for mark, first, last in question.marks()
        ]
    return task


def is_export(record: dict[str, Any]) -> bool:
    """Return whether a record is an annotation of Prodigy's."""
    return "answer" in record


def read(record: dict[str, Any], question: str | None, text: str) -> Iterator[Answer]:  # noqa: ARG001 - it has one
    """Yield the answer of an annotation; none where it was rejected or ignored."""
    if record["answer"] != "accept":
        return
    typed = record.get(record.get("field_id", _TYPED))
    # Binary annotations have the label that was accepted, others the identifiers of the chosen options.
    chosen = record.get("accept", [record["label"]] if "label" in record else [])
    yield Answer(
        texts=tuple(record[name] for name in (text, "text_pair") if name in record),
        person=str(record.get("_annotator_id") or record.get("_session_id") or ""),
        labels=[name for each in chosen if (name := label_name(each)) is not None],
        several=record.get("config", {}).get("choice_style") == "multiple",
        marks=[Mark(each["start"], each["end"], each["label"]) for each in record.get("spans") or ()],
        marking=record.get("_view_id") in _MARKING,
        number=_number(typed),
        words=[each["text"] for each in record["tokens"] if each["text"].strip()] if record.get("tokens") else None,
    )


def _number(typed: Any) -> float | None:  # noqa: ANN401 - text, where anything was typed
    """Return the number that was typed; None where it is none, such as a remark beside other answers."""
    try:
        return float(typed)
    except (TypeError, ValueError):
        return None


def _tokens(text: str, places: list[tuple[int, int]]) -> list[dict[str, Any]]:
    return [
        {"text": text[start:end], "start": start, "end": end, "id": number, "ws": text[end : end + 1].isspace()}
        for number, (start, end) in enumerate(places)
    ]
