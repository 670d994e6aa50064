"""Requests and a model that answers without a graph, for the tests of the Open Inference Protocol."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from bertwire.oip.inference_pb2 import ModelInferRequest, ModelInferResponse
from bertwire_runtime.bundle import Manifest
from bertwire_runtime.heads import HEADS
from bertwire_runtime.output import Output
from bertwire_server.call import Call, current
from bertwire_server.errors import ModelNotFound
from bertwire_server.inference import Inference, RequestLimits
from bertwire_server.model.model import Model
from bertwire_server.model.runs import Totals
from bertwire_server.protocols.oip.infer import Inferrer
from bertwire_server.protocols.oip.statistics import Statistics
from bertwire_server.query import Prediction, Query
from bertwire_server.repository.entry import Entry
from bertwire_server.repository.registry import Registry

MAX_TEXTS = 8


class Echo:
    """Stands for a model: gives the logits that it is told, and keeps the queries."""

    def __init__(self, manifest: Manifest, logits: Sequence[Any], words: Sequence[tuple[int, int, int]] = ()) -> None:
        self.manifest, self.queries, self._words = manifest, list[Query](), words
        self.engine = SimpleNamespace(provider="cpu", variant=manifest.variants[0])
        self.totals = Totals()
        self._logits = np.array(logits, np.float32)

    async def predict(self, query: Query) -> list[Prediction]:
        """The same answer to every text."""
        self.queries.append(query)
        scores = HEADS[self.manifest.task].scores(self.manifest, self._logits)
        entities = HEADS[self.manifest.task].entities(self.manifest, scores, self._words)
        output = Output(self._logits, scores, entities, 3, truncated=False)
        return [Prediction(output, 0.25, 0.5, 1.0) for _ in query.texts]


class EchoCatalog:
    """A registry of one such model."""

    def __init__(self, model: Echo) -> None:
        self.model = cast(Model, model)
        self.lease = self._lease

    @contextmanager
    def _lease(self, name: str, version: str) -> Iterator[Model]:
        if name not in ("", "tiny") or version not in ("", "1"):
            raise ModelNotFound("no such model")
        yield self.model

    def resolve(self, name: str, version: str) -> str:  # noqa: ARG002 - the registry's
        """It has no aliases."""
        return version

    def entries(self) -> list[Entry]:
        """The model."""
        return [Entry("tiny", "1", "READY", default=True, model=self.model)]

    async def load(self, name: str, version: str = "") -> None:
        """Is not asked."""
        raise AssertionError((name, version))

    unload = load


class Infer:
    """ModelInfer over such a model."""

    def __init__(self, model: Echo, *, allow_timeout_override: bool = True) -> None:
        self.model, self.catalog, self.statistics = model, EchoCatalog(model), Statistics()
        limits = RequestLimits(MAX_TEXTS, 1000, 2000)
        self.inference = Inference(cast(Registry, self.catalog), limits)
        self.inferrer = Inferrer(
            self.inference, self.catalog, self.statistics, allow_timeout_override=allow_timeout_override
        )

    async def __call__(self, request: ModelInferRequest, until: float | None = None) -> ModelInferResponse:
        """Answers a request whose call has the deadline `until`."""
        current.set(Call("ModelInfer"))
        return await self.inferrer.infer(request, until)


def packed(*elements: bytes) -> bytes:
    """Raw BYTES."""
    return b"".join(len(each).to_bytes(4, "little") + each for each in elements)


def unpacked(content: bytes) -> list[bytes]:
    """The elements of raw BYTES."""
    elements = []
    while content:
        end = 4 + int.from_bytes(content[:4], "little")
        elements.append(content[4:end])
        content = content[end:]
    return elements


def raw_request(*texts: str, rank: int = 2, outputs: Sequence[str] = (), **fields: Any) -> ModelInferRequest:  # noqa: ANN401
    """A request whose texts are raw."""
    request = ModelInferRequest(raw_input_contents=[packed(*(text.encode() for text in texts))], **fields)
    request.inputs.add(name="text", datatype="BYTES", shape=[len(texts), 1][:rank])
    for name in outputs:
        request.outputs.add(name=name)
    return request


def typed_request(*texts: str, rank: int = 2, **fields: Any) -> ModelInferRequest:  # noqa: ANN401
    """A request whose texts are in `contents`."""
    request = ModelInferRequest(**fields)
    tensor = request.inputs.add(name="text", datatype="BYTES", shape=[len(texts), 1][:rank])
    tensor.contents.bytes_contents.extend(text.encode() for text in texts)
    return request
