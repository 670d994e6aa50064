"""Between the messages of `bertwire.v1` and what the server means by them."""

import asyncio
from collections.abc import Iterable, Sequence
from time import perf_counter
from typing import Any

import grpc.aio

from bertwire.v1 import classifier_pb2 as pb
from bertwire_export.bundle import Manifest
from bertwire_server.errors import InvalidRequest
from bertwire_server.model.decision import Thresholds, best, entities, predicted
from bertwire_server.query import Prediction, Priority, Query, Truncation

# Values of a response built in one go, some milliseconds: 1,024 texts of 77 labels at once hold up all other calls for
# 74 ms.
_VALUES_A_TURN = 4096
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


def deadline(context: grpc.aio.ServicerContext[Any, Any]) -> float | None:
    """When the caller stops waiting, on the clock of `time.perf_counter`; None: never."""
    remaining = context.time_remaining()
    return None if remaining is None else perf_counter() + remaining


def query(request: pb.ClassifyRequest, until: float | None) -> Query:
    """What a request asks; raises `InvalidRequest` where it cannot mean anything."""
    if request.HasField("top_k") and request.top_k < 1:
        raise InvalidRequest(f"top_k is {request.top_k}; it must be at least 1, or unset for every label")
    if request.truncation not in _TRUNCATIONS:
        raise InvalidRequest(f"truncation is {request.truncation}, which means nothing; see enum Truncation")
    if request.priority not in _PRIORITIES:
        raise InvalidRequest(f"priority is {request.priority}, which means nothing; see enum Priority")
    return Query(
        texts=_texts(request),
        model=request.model,
        version=request.model_version,
        priority=_PRIORITIES[request.priority],
        deadline=until,
        truncation=_TRUNCATIONS[request.truncation],
    )


def _texts(request: pb.ClassifyRequest) -> list[str] | list[tuple[str, str]]:
    if not request.text_pairs:
        return list(request.texts)
    if len(request.texts) != len(request.text_pairs):
        raise InvalidRequest(
            f"{len(request.text_pairs)} text_pairs for {len(request.texts)} texts; send the second text of each"
        )
    return list(zip(request.texts, request.text_pairs, strict=True))


async def response(
    manifest: Manifest, predictions: Sequence[Prediction], request: pb.ClassifyRequest
) -> pb.ClassifyResponse:
    """The answer to a request; other calls get their turn while a large one is built."""
    thresholds = _thresholds(request)
    thresholds.require_fitting(manifest)
    results, built = [], 0
    for each in predictions:
        results.append(_result(manifest, each, request, thresholds))
        built += len(results[-1].labels) + len(results[-1].logits) + 1
        if built >= _VALUES_A_TURN:
            built = 0
            await asyncio.sleep(0)
    return pb.ClassifyResponse(model=manifest.name, model_version=manifest.version, results=results)


def _thresholds(request: pb.ClassifyRequest) -> Thresholds:
    return Thresholds(
        request.threshold if request.HasField("threshold") else None,
        dict(request.thresholds) if request.thresholds else None,
    )


def _result(
    manifest: Manifest, prediction: Prediction, request: pb.ClassifyRequest, thresholds: Thresholds
) -> pb.Result:
    by_token = manifest.task == "token_classification"
    return pb.Result(
        labels=() if by_token else _labels(manifest, prediction, request, thresholds),
        entities=_entities(manifest, prediction, thresholds) if by_token else (),
        logits=prediction.logits.ravel().tolist() if request.logits else (),
        token_count=prediction.token_count,
        truncated=prediction.truncated,
        timing=pb.Timing(
            queue_us=_us(prediction.queue_seconds),
            tokenize_us=_us(prediction.tokenize_seconds),
            run_us=_us(prediction.run_seconds),
        ),
    )


def _labels(
    manifest: Manifest, prediction: Prediction, request: pb.ClassifyRequest, thresholds: Thresholds
) -> Iterable[pb.LabelScore]:
    scores = prediction.scores.tolist()
    chosen = predicted(manifest, scores, thresholds)
    top_k = request.top_k if request.HasField("top_k") else None
    for index in best(prediction.scores, top_k):
        yield pb.LabelScore(label=manifest.labels[index], score=scores[index], predicted=chosen[index])


def _entities(manifest: Manifest, prediction: Prediction, thresholds: Thresholds) -> Iterable[pb.Entity]:
    for each in entities(manifest, prediction, thresholds):
        yield pb.Entity(label=each.label, start=each.start, end=each.end, score=each.score)


def _us(seconds: float) -> int:
    return round(seconds * 1e6)
