"""Label Studio: tasks as its import reads them, and its JSON export.

https://labelstud.io/guide/tasks and /guide/export have the formats. The labelling configuration has a Text `text`, and
a control `label`: Choices, Labels or Number.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from bertwire_trainer.labelling.forms import Answer, Mark, Question
from bertwire_trainer.labelling.tools.only import only

_CONTROL, _OBJECT = "label", "text"
_CHOICES, _MARKS, _NUMBERS = "choices", "labels", ("number", "rating")


def write(question: Question) -> dict[str, Any]:
    """Return a task with the suggestion as a prediction, and the scores beside the text, to sort by."""
    task: dict[str, Any] = {"data": question.texts | {"row": question.row} | question.scores()}
    if question.places:
        task["data"]["tokens"] = [question.texts["text"][start:end] for start, end in question.places]
    if question.form is not None:
        result = [{"from_name": _CONTROL, "to_name": _OBJECT, **each} for each in _results(question)]
        score = {} if question.confidence is None else {"score": question.confidence}
        task["predictions"] = [{"model_version": "bertwire", **score, "result": result}]
    return task


def _results(question: Question) -> Iterator[dict[str, Any]]:
    text = question.texts["text"]
    if question.form == "number":
        yield {"type": "number", "value": {"number": question.suggestion}}
    elif names := question.names():
        yield {"type": _CHOICES, "value": {_CHOICES: names}}
    for mark, *_ in question.marks():
        part = {"start": mark.start, "end": mark.end, "text": text[mark.start : mark.end]}
        yield {"type": _MARKS, "value": {**part, _MARKS: [mark.label]}}


def is_export(record: dict[str, Any]) -> bool:
    """Return whether a record is a task of the JSON export."""
    return isinstance(record.get("data"), dict) and "annotations" in record


def read(record: dict[str, Any], question: str | None, text: str) -> Iterator[Answer]:
    """Yield the answer of each annotation by the control `question`, or by the only one; none of what was skipped."""
    data = record["data"]
    texts = tuple(data[name] for name in (text, "text_pair") if name in data)
    for annotation in record["annotations"]:
        if annotation.get("was_cancelled"):
            continue
        by_control: dict[str, list[dict[str, Any]]] = {}
        for each in annotation["result"]:
            if each["type"] in (_CHOICES, _MARKS, *_NUMBERS):
                by_control.setdefault(each["from_name"], []).append(each)
        answer = Answer(texts, _person(annotation.get("completed_by")), words=data.get("tokens"))
        for each in only(by_control, question, "control"):
            answer = _added(answer, each["type"], each["value"])
        yield answer


def _added(answer: Answer, kind: str, value: dict[str, Any]) -> Answer:
    if kind == _CHOICES:
        return replace(answer, labels=[*answer.labels, *value[_CHOICES]])
    if kind == _MARKS:
        return replace(
            answer, marks=[*answer.marks, *(Mark(value["start"], value["end"], each) for each in value[kind])]
        )
    return replace(answer, number=float(value[kind]))


def _person(who: Any) -> str:  # noqa: ANN401 - a number, or an object with one
    return str(who.get("id", "") if isinstance(who, dict) else who or "")
