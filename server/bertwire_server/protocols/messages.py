"""Conversion between messages of `bertwire.v1` and queries and predictions."""

import asyncio
from collections.abc import Callable, Sequence

from bertwire.v1 import classifier_pb2 as pb
from bertwire.v1.embedder_pb2 import Embedding
from bertwire_core.tasks import ServedTable
from bertwire_runtime.bundle import Manifest
from bertwire_runtime.heads import HEADS
from bertwire_runtime.output import Output, best
from bertwire_runtime.thresholds import MODELS_OWN, Thresholds
from bertwire_server.errors import InvalidRequest
from bertwire_server.query import Prediction, Priority, Query, Truncation

# Values of a response that are built between yields to the event loop, a few milliseconds; 1,024 texts of 77 labels at
# once block it for 74 ms.
VALUES_PER_TURN = 4096
_TRUNCATIONS: dict[int, Truncation] = {
    pb.TRUNCATION_UNSPECIFIED: "model",
    pb.TRUNCATION_LEFT: "left",
    pb.TRUNCATION_RIGHT: "right",
    pb.TRUNCATION_REFUSE: "refuse",
}
_PRIORITIES: dict[int, Priority] = {
    pb.PRIORITY_UNSPECIFIED: Priority.NORMAL,
    pb.PRIORITY_LOW: Priority.LOW,
    pb.PRIORITY_NORMAL: Priority.NORMAL,
    pb.PRIORITY_HIGH: Priority.HIGH,
}


def query(request: pb.ClassifyRequest, until: float | None) -> Query:
    """Return a request as a query; raise `InvalidRequest` where it is invalid."""
    if request.HasField("top_k") and request.top_k < 1:
        raise InvalidRequest(f"top_k is {request.top_k}; it must be at least 1, or unset for every label")
    return Query(
        texts=_texts(request),
        model=request.model,
        version=request.model_version,
        priority=priority(request.priority),
        deadline=until,
        truncation=truncation(request.truncation),
        thresholds=_thresholds(request),
    )


def truncation(number: int) -> Truncation:
    """Return a truncation by its number; raise `InvalidRequest` for an unknown one."""
    if number not in _TRUNCATIONS:
        raise InvalidRequest(f"truncation is {number}, which means nothing; see enum Truncation")
    return _TRUNCATIONS[number]


def priority(number: int) -> Priority:
    """Return a priority by its number; raise `InvalidRequest` for an unknown one."""
    if number not in _PRIORITIES:
        raise InvalidRequest(f"priority is {number}, which means nothing; see enum Priority")
    return _PRIORITIES[number]


def _texts(request: pb.ClassifyRequest) -> list[str] | list[tuple[str, str]]:
    if not request.text_pairs:
        return list(request.texts)
    if len(request.texts) != len(request.text_pairs):
        raise InvalidRequest(
            f"{len(request.text_pairs)} text_pairs for {len(request.texts)} texts; send the second text of each"
        )
    return list(zip(request.texts, request.text_pairs, strict=True))


async def response(
    manifest: Manifest, predictions: Sequence[Prediction], request: pb.ClassifyRequest, thresholds: Thresholds
) -> pb.ClassifyResponse:
    """Return the response to a request, yielding to the event loop while building a large one.

    Args:
        manifest: of the model that answered.
        predictions: one a text.
        request: the request.
        thresholds: those of its query.
    """
    fill = _FILL[manifest.task]
    assert fill is not None  # noqa: S101 - `require_labels`
    top_k = request.top_k if request.HasField("top_k") else None
    answer, built = pb.ClassifyResponse(model=manifest.name, model_version=manifest.version), 0
    for each in predictions:
        result = answer.results.add()
        fill_times(result, each)
        fill(result, manifest, each.output, thresholds, top_k)
        if each.output.abstained:
            result.abstained = True
        if request.logits:
            result.logits.extend(each.output.logits.ravel().tolist())
        if each.output.rules:
            result.rules.extend(each.output.rules)
        built += len(result.labels) + len(result.entities) + len(result.logits) + 1
        if built >= VALUES_PER_TURN:
            built = 0
            await asyncio.sleep(0)
    return answer


def _thresholds(request: pb.ClassifyRequest) -> Thresholds:
    every = request.threshold if request.HasField("threshold") else None
    if every is None and not request.thresholds:
        return MODELS_OWN
    return Thresholds(every, dict(request.thresholds))


# Assigned one by one and built in place, in half the time of constructors with keywords.


def fill_times(result: pb.Result | Embedding, prediction: Prediction) -> None:
    """Fill in the tokens that were read and the time that the text took."""
    result.token_count = prediction.output.token_count
    result.truncated = prediction.output.truncated
    timing = result.timing
    timing.queue_us = round(prediction.queue_seconds * 1e6)
    timing.tokenize_us = round(prediction.tokenize_seconds * 1e6)
    timing.run_us = round(prediction.run_seconds * 1e6)


def _fill_labels(
    result: pb.Result, manifest: Manifest, output: Output, thresholds: Thresholds, top_k: int | None
) -> None:
    labels, scores, add = manifest.labels, output.scores.tolist(), result.labels.add
    chosen = HEADS[manifest.task].chosen(manifest, output, thresholds)
    for index in best(output.scores, top_k):
        entry = add()
        entry.label = labels[index]
        entry.score = scores[index]
        entry.predicted = chosen[index]


def _fill_entities(result: pb.Result, _: Manifest, output: Output, thresholds: Thresholds, __: int | None) -> None:
    for each in output.entities:
        if each.score >= thresholds.of(each.label, 0.0):
            result.entities.add(label=each.label, start=each.start, end=each.end, score=each.score)


_FILL: ServedTable[Callable[[pb.Result, Manifest, Output, Thresholds, int | None], None] | None] = ServedTable(
    {
        "single_label": _fill_labels,
        "multi_label": _fill_labels,
        "token_classification": _fill_entities,
        "regression": _fill_labels,
        "embedding": None,
    }
)


def require_labels(manifest: Manifest) -> None:
    """Raise `InvalidRequest` where the model decides nothing that this protocol has a message for."""
    if _FILL[manifest.task] is None:
        raise InvalidRequest(
            "the model gives embeddings, and no labels; ask bertwire.v1.Embedder (client.embed, bertwire embed)"
        )
