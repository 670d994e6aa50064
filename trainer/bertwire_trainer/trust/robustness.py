"""How a model takes small edits of the texts of dev."""

from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any, cast

import numpy

from bertwire_data.labelled import MAIN_METRIC, Labelled, decisions, encode_targets, row_sums, scores_of
from bertwire_trainer.messages import metric_name
from bertwire_trainer.predict import predict
from bertwire_trainer.tokens import tokenize
from bertwire_trainer.trust.edits import EDITS, EditSpec, edited
from bertwire_trainer.trust.record import EditRecord
from bertwire_trainer.trust.table import number, table

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bertwire_trainer.method import Fitted, Job

# Texts of dev that are edited at most. With half as many a flip in 500 texts goes unseen.
_MOST_TEXTS = 1000
# The figure of numbers, in the unit of the labels: a correlation says nothing of a single text.
_ERROR = "mae"


class Robustness:
    """A trained model, and some texts of dev with what it decides for them."""

    def __init__(self, job: "Job", fitted: "Fitted") -> None:
        """Take at most 1,000 texts of dev by the seed of the job, and decide them as they are."""
        self._job, self._fitted = job, fitted
        order = numpy.random.default_rng(job.seed).permutation(len(job.data.dev))[:_MOST_TEXTS]
        self._rows = job.data.dev.take(numpy.sort(order).tolist())
        self._decided, self._sums = self._answers(self._rows, "score texts as they are")

    def run(self) -> list[EditRecord]:
        """Score each edit on the texts that it changes, and print a table."""
        found = [self._edit(name, spec) for name, spec in EDITS.items()]
        _print(found)
        return found

    def _edit(self, name: str, spec: EditSpec) -> EditRecord:
        if self._rows.by_word and not spec.by_word:
            return EditRecord(name=name, rows=0, remark="left out: tags are of the words as they are")
        generator = Random(f"{self._job.seed} {name}")  # noqa: S311 - no secret
        changed = [edited(each, spec.edit, generator) for each in self._rows.inputs]
        places = [place for place, each in enumerate(changed) if each != self._rows.inputs[place]]
        if not places:
            return EditRecord(name=name, rows=0, remark="no text has what it changes")
        rows = replace(self._rows.take(places), inputs=cast(Any, [changed[place] for place in places]))
        decided, sums = self._answers(rows, name)
        pairs = [(self._decided[place], each) for place, each in zip(places, decided, strict=True)]
        if not spec.same_label:
            remark = "labels may change with it: look at the texts that are decided as before"
            return EditRecord(name=name, rows=len(places), remark=remark, **_changes(pairs))
        before, after = (self._score(each) for each in (self._sums[places], sums))
        metric = _ERROR if _ERROR in after else MAIN_METRIC[self._rows.task]
        return EditRecord(
            name=name, rows=len(places), metric=metric, before=before[metric], score=after[metric], **_changes(pairs)
        )

    def _answers(self, rows: Labelled, title: str) -> "tuple[list[Any], NDArray[Any]]":
        """Return the decisions for the rows, and their `row_sums`."""
        labels, targets = self._job.data.labels, encode_targets(rows, self._job.data.labels)
        tokens = tokenize(self._fitted.model, self._fitted.tokenizer, rows, targets)
        logits = predict(self._fitted.model, self._fitted.tokenizer, tokens, labels, title)
        decided = decisions(rows.task, logits, labels, rows.words())
        return decided, row_sums(rows.task, logits, targets, labels, rows.words())

    def _score(self, sums: "NDArray[Any]") -> dict[str, float]:
        found = scores_of(self._rows.task, sums.sum(axis=0))
        return {metric: float(value) for metric, value in found.items()}


def _changes(pairs: list[tuple[Any, Any]]) -> dict[str, float]:
    """Return the mean absolute change of numbers, or the share of other decisions that differ."""
    if isinstance(pairs[0][0], float):
        return {"change": float(numpy.mean([abs(one - other) for one, other in pairs]))}
    return {"flips": sum(one != other for one, other in pairs) / len(pairs)}


def _print(found: list[EditRecord]) -> None:
    metric = next((metric_name(each.metric) for each in found if each.metric), "")
    numbers = any(each.change is not None for each in found)
    lines = [("edit of dev", "texts", metric, "after", "mean change" if numbers else "flips", "")]
    for each in found:
        size = each.change if numbers else each.flips
        shown = "" if size is None else f"{size:.4f}" if numbers else f"{size:.1%}"
        lines.append((each.name, str(each.rows), number(each.before), number(each.score), shown, each.remark))
    table(lines)
