"""Simple models on the same rows, which a method of transfer should beat."""

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy
from numpy.typing import NDArray

from bertwire_data.labelled import MAIN_METRIC, score
from bertwire_trainer.linear import fit_linear
from bertwire_trainer.messages import metric_name, note
from bertwire_trainer.report.kinds.base import Logits, text_of
from bertwire_trainer.report.material import Material
from bertwire_trainer.report.section import Section, Table
from bertwire_trainer.report.words import vectorizer
from bertwire_trainer.tasks import SPECS

# Rows of train that TF-IDF reads at most. Halved, it is a weaker baseline; 9,000 rows of 77 labels take 2 seconds.
_MOST_ROWS = 20_000
_TITLE = "Baselines"

Places = NDArray[numpy.integer]


class _Result(NamedTuple):
    name: str
    rows: int
    seconds: float
    scores: dict[str, float]


def baselines(material: Material) -> list[Section]:
    """Return the section of the baselines beside the method; print where dev is no worse by one of them."""
    data, method = material.job.data, material.record["method"]
    if SPECS[data.task].by_word:
        return [Section(_TITLE, "None: a bag of words, or one vector of a text, has no place for the tag of a word.")]
    names = [*material.held]
    # The baseline that embeds says on which rows all are compared.
    embeds = method != "frozen"
    asked = {name: material.vectors.held[name].places if embeds else _all(material, name) for name in names}
    simple = [_tfidf(material, asked), *([_frozen(material)] if embeds else [])]
    reached = _scored(material, asked, lambda name: material.held[name].logits[asked[name]])
    own = _Result(method, len(data.train), material.record["seconds"], reached)
    metric = metric_name(MAIN_METRIC[data.task])
    rows = [
        (each.name, str(each.rows), f"{each.seconds:.1f}", *(f"{each.scores[name]:.4f}" for name in names))
        for each in (own, *simple)
    ]
    table = Table(("model", "rows of train", "seconds", *(f"{metric} on {name}" for name in names)), rows)
    if line := _beaten(own, simple, metric):
        note(line)
    figures = {each.name: {"rows": each.rows, **each.scores} for each in (own, *simple)}
    return [Section(_TITLE, " ".join([line, *_sampled(material, asked)]).strip(), tables=[table], figures=figures)]


def _beaten(own: _Result, simple: list[_Result], metric: str) -> str:
    best = max(simple, key=lambda each: each.scores["dev"])
    if own.scores["dev"] > best.scores["dev"]:
        return ""
    figures = f"{metric} {own.scores['dev']:.4f} on dev against {best.scores['dev']:.4f}"
    return f"{own.name} is no better than {best.name}: {figures}."


def _all(material: Material, name: str) -> Places:
    return numpy.arange(len(material.held[name].rows))


def _sampled(material: Material, asked: dict[str, Places]) -> list[str]:
    """Return a sentence for each split of which not all rows were read."""
    return [
        f"All models are scored on {len(places)} of the {len(material.held[name].rows)} rows of {name}."
        for name, places in asked.items()
        if len(places) < len(material.held[name].rows)
    ]


def _tfidf(material: Material, asked: dict[str, Places]) -> _Result:
    begun, data = time.perf_counter(), material.job.data
    order = numpy.sort(numpy.random.default_rng(material.job.seed).permutation(len(data.train))[:_MOST_ROWS])
    texts = [text_of(data.train.inputs[place]) for place in order]
    note(f"report: TF-IDF on {len(order)} rows of train")
    terms = vectorizer(texts)
    fitted = material.kind.fit(terms.fit_transform(texts), data.targets["train"][order], data.labels)
    seconds = time.perf_counter() - begun

    def logits(name: str) -> Logits:
        rows = material.held[name].rows.inputs
        found: Logits = fitted(terms.transform([text_of(rows[place]) for place in asked[name]]))
        return found

    return _Result("TF-IDF", len(order), seconds, _scored(material, asked, logits))


def _frozen(material: Material) -> _Result:
    vectors, data = material.vectors, material.job.data
    begun, train = time.perf_counter(), vectors.train
    targets = data.targets["train"][train.places]
    weight, bias = fit_linear(train.vectors, targets, data.task, len(data.labels), vectors.strength)
    seconds = train.seconds + time.perf_counter() - begun
    asked = {name: each.places for name, each in vectors.held.items()}
    found = _scored(material, asked, lambda name: vectors.held[name].vectors @ weight.T + bias)
    return _Result("frozen", len(targets), seconds, found)


def _scored(material: Material, asked: dict[str, Places], logits: Callable[[str], Logits]) -> dict[str, float]:
    """Return the main metric on the rows of each split."""
    task, metric = material.job.data.task, MAIN_METRIC[material.job.data.task]
    return {
        name: score(task, logits(name), material.held[name].targets[places], material.labels)[metric]
        for name, places in asked.items()
    }
