"""Choose the texts to label next and write them for an annotation tool."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
from numpy.typing import NDArray

from bertwire_core.console import err
from bertwire_core.files import whole_file
from bertwire_data.labelled import decisions
from bertwire_trainer.labelling.config import JSON_ARRAYS
from bertwire_trainer.labelling.formats import WRITERS
from bertwire_trainer.labelling.forms import Question, form_of
from bertwire_trainer.labelling.network import Network, load_encoder, load_round
from bertwire_trainer.labelling.prepare import Prepared
from bertwire_trainer.labelling.rounds import by_change, by_dev
from bertwire_trainer.labelling.select import candidates, diverse
from bertwire_trainer.labelling.uncertainty import doubt, probabilities
from bertwire_trainer.labelling.words import places
from bertwire_trainer.messages import say

# Texts whose predictions of the last two rounds are compared; halved, the share is less exact by a factor of 1.4.
_COMPARED = 2000


@dataclass(frozen=True, slots=True)
class Predicted:
    """What a model says of a pool.

    Attributes:
        decided: its decision for each text.
        uncertainty: float64 [texts].
        confidence: float64 [texts]; None for numbers, which have none.
    """

    decided: list[Any]
    uncertainty: NDArray[numpy.float64]
    confidence: NDArray[numpy.float64] | None


def write_next(prepared: Prepared) -> None:
    """Choose texts, write them, and print by what they were chosen and whether more labels still help.

    Raises:
        UserError: the model cannot be loaded.
    """
    config = prepared.config
    questions, reason = _by_model(prepared) if prepared.rounds else _by_diversity(prepared)
    write = WRITERS[config.format]
    with whole_file(config.output) as path:
        _write(path, [write(each) for each in questions], array=config.format in JSON_ARRAYS)
    say(f"{config.output}: {len(questions):,} of {prepared.unlabelled:,} unlabelled texts, by {reason}")


def _by_diversity(prepared: Prepared) -> tuple[list[Question], str]:
    network = load_encoder(prepared.base, prepared.pool.read)
    vectors = network.vectors(prepared.pool.read, "read texts")
    known = [network.vectors(each.read, "read labelled texts") for each in prepared.labelled]
    config = prepared.config
    with err.status("Comparing texts"):
        chosen = diverse(vectors, config.count, config.seed, numpy.concatenate(known) if known else None)
    return _questions(prepared, chosen, None), "diversity alone: no checkpoint of bertwire train is given with --model"


def _by_model(prepared: Prepared) -> tuple[list[Question], str]:
    config, pool, last = prepared.config, prepared.pool, prepared.rounds[-1]
    network = load_round(last)
    predicted = _predict(prepared, network)
    if config.rounds is not None:
        say(_advice(prepared, predicted.decided))
    near = candidates(predicted.uncertainty, config.count)
    vectors = network.vectors(pool.read.take(near), "compare texts")
    chosen = [near[place] for place in diverse(vectors, config.count, config.seed)]
    chosen.sort(key=lambda index: -predicted.uncertainty[index])
    what = config.uncertainty if predicted.confidence is not None else "spread under dropout"
    return _questions(prepared, chosen, predicted), f"{what} and diversity"


def _predict(prepared: Prepared, network: Network) -> Predicted:
    texts, measure = prepared.pool.read, prepared.config.uncertainty
    logits = network.logits(texts, "predict")
    decided = decisions(texts.task, logits, network.labels, texts.words())
    if (of := probabilities(texts.task)) is None:
        return Predicted(decided, network.spread(texts, prepared.config.seed), None)
    found = doubt(of, logits, network.labels, texts.words(), measure)
    return Predicted(decided, found.uncertainty, found.confidence)


def _advice(prepared: Prepared, decided: list[Any]) -> str:
    rounds = prepared.rounds
    if len(rounds) < 2:
        return "one round: whether more labels help can be said from the second on"
    if said := by_dev(rounds):
        return said
    texts = prepared.pool.read.take(range(min(len(prepared.pool), _COMPARED)))
    before = load_round(rounds[-2])
    logits = before.logits(texts, f"predict by {rounds[-2].folder.name}")
    return by_change(decisions(texts.task, logits, before.labels, texts.words()), decided[: len(texts)], rounds)


def _questions(prepared: Prepared, chosen: Sequence[int], predicted: Predicted | None) -> list[Question]:
    return [_question(prepared, index, predicted) for index in chosen]


def _question(prepared: Prepared, index: int, predicted: Predicted | None) -> Question:
    read, shown = prepared.pool.read, prepared.pool.shown[index]
    words = read.inputs[index]
    confidence = None if predicted is None or predicted.confidence is None else predicted.confidence[index]
    return Question(
        texts=dict(zip(("text", "text_pair"), shown, strict=False)),
        row=read.rows[index],
        form=form_of(read.task) if predicted else None,
        choices=prepared.rounds[-1].record.labels if prepared.rounds else [],
        places=(places(shown[0], words) or []) if isinstance(words, list) else [],
        suggestion=predicted and predicted.decided[index],
        confidence=None if confidence is None else round(float(confidence), 4),
        uncertainty=None if predicted is None else round(float(predicted.uncertainty[index]), 4),
    )


def _write(path: Path, records: list[dict[str, Any]], *, array: bool) -> None:
    if array:
        path.write_text(json.dumps(records, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    else:
        lines = (json.dumps(record, ensure_ascii=False) + "\n" for record in records)
        path.write_text("".join(lines), encoding="utf-8")
