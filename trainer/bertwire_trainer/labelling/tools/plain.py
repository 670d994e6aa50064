"""Plain rows: the text, what the model suggests, and the scores."""

from typing import Any

from bertwire_trainer.labelling.forms import Question


def write(question: Question) -> dict[str, Any]:
    """Return a row that `bertwire train` reads once the label, labels or tags are added."""
    texts: dict[str, Any] = dict(question.texts)
    if question.places:
        texts = {"tokens": [texts["text"][start:end] for start, end in question.places]}
    suggested = {} if question.form is None else {"suggested": question.suggestion}
    return texts | {"row": question.row} | suggested | question.scores()
