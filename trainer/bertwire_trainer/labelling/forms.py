"""What is asked of people about a text, and what they answer, in no annotation tool's terms."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from bertwire_core.tags import spans
from bertwire_core.tasks import Task, TaskTable

Form = Literal["label", "labels", "marks", "number"]

_FORMS: TaskTable[Form] = TaskTable(
    {
        "single_label": "label",
        "multi_label": "labels",
        "token_classification": "marks",
        "regression": "number",
    }
)
form_of = _FORMS.__getitem__


def task_of(form: Form) -> Task:
    """Return the task whose answers have a form."""
    return next(task for task, each in _FORMS.items() if each == form)


@dataclass(frozen=True, slots=True)
class Mark:
    """A marked span of a text: start, end in code points, and label."""

    start: int
    end: int
    label: str


@dataclass(frozen=True, slots=True)
class Question:
    """A text to label.

    Attributes:
        texts: `text` and, for pairs, `text_pair`.
        row: its row in the unlabelled file; the first is 1.
        form: what is asked; None where no model says what the texts are for.
        choices: labels that the model knows.
        places: start and end of each word, for marks; else empty.
        suggestion: what the model decides, in the form of the targets of `Labelled`; None without a model.
        confidence: probability of the least certain of its decisions; None where it has none.
        uncertainty: by what the text was chosen; None without a model.
    """

    texts: dict[str, str]
    row: int
    form: Form | None
    choices: list[str]
    places: list[tuple[int, int]]
    suggestion: Any
    confidence: float | None
    uncertainty: float | None

    def scores(self) -> dict[str, float]:
        """Return confidence and uncertainty, where the text has them."""
        both = {"confidence": self.confidence, "uncertainty": self.uncertainty}
        return {name: round(value, 4) for name, value in both.items() if value is not None}

    def names(self) -> list[str]:
        """Return the suggested label or labels; none of marks, of a number and without a model."""
        if self.form == "label" and self.suggestion is not None:
            return [self.suggestion]
        return list(self.suggestion or ()) if self.form == "labels" else []

    def marks(self) -> list[tuple[Mark, int, int]]:
        """Return the suggested spans, each with its first and last word."""
        if self.form != "marks":
            return []
        found = spans(self.suggestion)
        return [(Mark(self.places[a][0], self.places[b - 1][1], kind), a, b - 1) for kind, a, b in found]


@dataclass(frozen=True, slots=True)
class Answer:
    """What one person said of a text.

    Attributes:
        texts: the text, and for pairs the second one.
        person: who; empty where the tool does not say.
        labels: chosen labels.
        several: whether more than one could be chosen, as far as the tool says.
        marks: marked spans.
        marking: whether spans could be marked, as far as the tool says.
        number: a number, where one was given.
        words: the words of the text as the tool has them; None where it has none.
    """

    texts: tuple[str, ...]
    person: str = ""
    labels: list[str] = field(default_factory=list)
    several: bool = False
    marks: list[Mark] = field(default_factory=list)
    marking: bool = False
    number: float | None = None
    words: list[str] | None = None


def form_by_answers(answers: Sequence[Answer]) -> Form:
    """Return the form that answers look like: marks before numbers before several labels before one."""
    if any(each.marks or each.marking for each in answers):
        return "marks"
    if any(each.number is not None for each in answers):
        return "number"
    return "labels" if any(each.several or len(each.labels) > 1 for each in answers) else "label"
