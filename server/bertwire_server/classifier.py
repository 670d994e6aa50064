"""The `bertwire.v1.Classifier` service: converts, calls the model, converts."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import grpc.aio

from bertwire.v1.classifier_pb2 import ClassifyRequest, ClassifyResponse, LabelScore, Result, Timing
from bertwire.v1.classifier_pb2_grpc import ClassifierServicer
from bertwire_server.decision import best
from bertwire_server.errors import InvalidRequest, ModelNotFound, NotReady
from bertwire_server.model import Model, Prediction

# Values of a response built in one go, some milliseconds: 1,024 texts of 77 labels at once hold up all other calls for
# 74 ms.
_VALUES_A_TURN = 4096


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """What a call may hold.

    Attributes:
        texts: most texts of a call.
        text_chars: most characters of a text.
        call_chars: most characters of a call's texts together; tokenizing takes time in proportion to them.
    """

    texts: int
    text_chars: int
    call_chars: int


class Classifier(ClassifierServicer):
    """Answers with the model it is given once that is warm."""

    def __init__(self, limits: RequestLimits) -> None:
        self._limits = limits
        self._model: Model | None = None

    def use(self, model: Model) -> None:
        """Answers with `model` from now on."""
        self._model = model

    async def Classify(  # noqa: N802 - the protocol's name
        self,
        request: ClassifyRequest,
        context: grpc.aio.ServicerContext[ClassifyRequest, ClassifyResponse],  # noqa: ARG002 - gRPC passes it
    ) -> ClassifyResponse:
        """Classifies the texts of one call; see `classifier.proto`."""
        if self._model is None:
            raise NotReady("the model is warming up; try again in a moment")
        manifest = self._model.manifest
        if request.model not in ("", manifest.name):
            raise ModelNotFound(f"no model {request.model[:64]!r} here; this server has {manifest.name!r}")
        top_k = _top_k(request)
        self._check_count(len(request.texts))
        texts = list(request.texts)
        self._check(texts)
        predictions = await self._model.classify(texts)
        results = [result async for result in _results(predictions, manifest.labels, top_k, request.logits)]
        return ClassifyResponse(model=manifest.name, model_version=manifest.version, results=results)

    def _check_count(self, texts: int) -> None:
        if not texts:
            raise InvalidRequest("texts is empty; send at least one text")
        if texts > self._limits.texts:
            raise InvalidRequest(f"{texts} texts in one call; send at most {self._limits.texts}")

    def _check(self, texts: list[str]) -> None:
        if (chars := sum(map(len, texts))) > self._limits.call_chars and len(texts) > 1:
            raise InvalidRequest(f"{chars} characters in one call; send at most {self._limits.call_chars}")
        for index, text in enumerate(texts):
            if len(text) > self._limits.text_chars:
                raise InvalidRequest(
                    f"texts[{index}] has {len(text)} characters; send at most {self._limits.text_chars}"
                )
            if not text or text.isspace():
                raise InvalidRequest(f"texts[{index}] is blank; send text with at least one visible character")


def _top_k(request: ClassifyRequest) -> int | None:
    if not request.HasField("top_k"):
        return None
    if request.top_k < 1:
        raise InvalidRequest(f"top_k is {request.top_k}; it must be at least 1, or unset for every label")
    return request.top_k


async def _results(
    predictions: list[Prediction], labels: tuple[str, ...], top_k: int | None, logits: bool
) -> AsyncIterator[Result]:
    """The results in order; other calls get their turn in between."""
    built = 0
    for each in predictions:
        result = _result(each, labels, top_k, logits)
        yield result
        built += len(result.labels) + len(result.logits) + 1
        if built >= _VALUES_A_TURN:
            built = 0
            await asyncio.sleep(0)


def _result(prediction: Prediction, labels: tuple[str, ...], top_k: int | None, logits: bool) -> Result:
    scores = prediction.scores.tolist()
    return Result(
        labels=[LabelScore(label=labels[index], score=scores[index]) for index in best(prediction.scores, top_k)],
        logits=prediction.logits.tolist() if logits else (),
        token_count=prediction.token_count,
        truncated=prediction.truncated,
        timing=Timing(
            queue_us=_us(prediction.queue_seconds),
            tokenize_us=_us(prediction.tokenize_seconds),
            run_us=_us(prediction.run_seconds),
        ),
    )


def _us(seconds: float) -> int:
    return round(seconds * 1e6)
