"""Conversion of predictions to output tensors."""

import asyncio
import json
from collections.abc import Callable, Sequence

import numpy as np

from bertwire.oip.inference_pb2 import ModelInferRequest, ModelInferResponse
from bertwire_runtime.bundle import Manifest
from bertwire_runtime.heads import HEADS
from bertwire_runtime.output import Floats, Output, best
from bertwire_server.errors import InvalidRequest
from bertwire_server.protocols.oip.parameters import classification, refuse_shared_memory
from bertwire_server.protocols.oip.schema import OUTPUT_NAMES, Tensor, outputs
from bertwire_server.query import Prediction

# Requested outputs by name, each with the number of best classes; 0: its own elements.
Asked = dict[str, int]
# Makes the elements of one text.
Elements = Callable[[Output], list[bytes]]
# Elements built between yields to the event loop, one to two milliseconds.
_ELEMENTS_PER_TURN = 1024


def asked(request: ModelInferRequest) -> Asked:
    """Return the requested outputs; raise `InvalidRequest` for a name that no model has."""
    names: Asked = {}
    for output in request.outputs:
        if output.name not in OUTPUT_NAMES:
            raise InvalidRequest(f"no output {output.name[:64]!r} here; ModelMetadata lists what the model answers")
        if output.name in names:
            raise InvalidRequest(f"the output {output.name!r} is asked for twice; ask once")
        names[output.name] = 0
        if output.parameters:
            refuse_shared_memory(output.parameters)
            names[output.name] = classification(output.parameters)
    return names


def require_outputs(names: Asked, manifest: Manifest) -> None:
    """Raise `InvalidRequest` where the model lacks a requested output, or classes of it."""
    ours = outputs(manifest)
    for name, count in names.items():
        if name not in ours:
            raise InvalidRequest(f"the model has no output {name!r}; it has {', '.join(ours)}")
        if count and not ours[name].by_label:
            raise InvalidRequest(f"{name} has no classification; ask for that of scores or logits")


class Outputs:
    """Adds the outputs of one answer to its response."""

    def __init__(
        self,
        response: ModelInferResponse,
        manifest: Manifest,
        predictions: Sequence[Prediction],
        rank: int,
        *,
        raw: bool,
    ) -> None:
        """Create an empty set of outputs.

        Args:
            response: the response to extend.
            manifest: the model's manifest.
            predictions: one per text.
            rank: rank of outputs with one element per text: 1 for [N], 2 for [N, 1].
            raw: whether the elements go into `raw_output_contents`.
        """
        self._response, self._raw = response, raw
        self._manifest, self._head = manifest, HEADS[manifest.task]
        self._outputs = [each.output for each in predictions]
        self._column = [len(predictions), 1][:rank]

    async def add(self, names: Asked) -> None:
        """Add the requested outputs, validated by `require_outputs`; all where none is requested."""
        ours = outputs(self._manifest)
        for name, count in (names or dict.fromkeys(ours, 0)).items():
            await (self._add_classes(name, count) if count else self._add(ours[name]))

    async def _add(self, output: Tensor) -> None:
        texts = self._outputs
        if output.by_label or output.by_dimension:
            shape = (len(texts), output.width(self._manifest))
            self._floats(output.name, shape, [getattr(each, output.name) for each in texts])
        elif output.name == "score":
            self._floats("score", self._column, [each.scores[each.scores.argmax()] for each in texts])
        elif output.name == "label":
            labels = self._manifest.labels
            self._strings("label", self._column, [labels[each.scores.argmax()].encode() for each in texts])
        elif output.name == "abstained":
            self._bools("abstained", self._column, [each.abstained for each in texts])
        else:
            makers = {"entities": _entities, "labels": self._labels, "rules": _rules}
            self._strings(output.name, self._column, await self._each(makers[output.name]))

    async def _add_classes(self, name: str, count: int) -> None:
        """Add each text's best labels in Triton's form: `value:index:label`."""
        count, labels = min(count, len(self._manifest.labels)), self._manifest.labels

        def classes(output: Output) -> list[bytes]:
            values: Floats = getattr(output, name)
            return [f"{values[index]:f}:{index}:{labels[index]}".encode() for index in best(values, count)]

        self._strings(name, (len(self._outputs), count), await self._each(classes))

    def _labels(self, output: Output) -> list[bytes]:
        """Return JSON of the predicted labels, best first."""
        scores = output.scores.tolist()
        chosen = self._head.chosen(self._manifest, output)
        order = [index for index in best(output.scores, None) if chosen[index]]
        return [_json([{"label": self._manifest.labels[index], "score": scores[index]} for index in order])]

    async def _each(self, make: Elements) -> list[bytes]:
        elements: list[bytes] = []
        rest = _ELEMENTS_PER_TURN
        for output in self._outputs:
            made = make(output)
            elements += made
            rest -= len(made)
            if rest <= 0:
                rest = _ELEMENTS_PER_TURN
                await asyncio.sleep(0)
        return elements

    def _floats(self, name: str, shape: Sequence[int], rows: Sequence[Floats | np.float32]) -> None:
        output = self._response.outputs.add(name=name, datatype="FP32", shape=shape)
        if self._raw:
            self._response.raw_output_contents.append(b"".join([row.tobytes() for row in rows]))
        else:
            for row in rows:
                output.contents.fp32_contents.extend(row.ravel().tolist())

    def _bools(self, name: str, shape: Sequence[int], values: Sequence[bool]) -> None:
        output = self._response.outputs.add(name=name, datatype="BOOL", shape=shape)
        if self._raw:
            self._response.raw_output_contents.append(bytes(values))
        else:
            output.contents.bool_contents.extend(values)

    def _strings(self, name: str, shape: Sequence[int], elements: Sequence[bytes]) -> None:
        output = self._response.outputs.add(name=name, datatype="BYTES", shape=shape)
        if self._raw:
            parts = [part for each in elements for part in (len(each).to_bytes(4, "little"), each)]
            self._response.raw_output_contents.append(b"".join(parts))
        else:
            output.contents.bytes_contents.extend(elements)


def _entities(output: Output) -> list[bytes]:
    """Return JSON of the entities in text order, with bounds in code points."""
    found = output.entities
    return [_json([{"label": e.label, "start": e.start, "end": e.end, "score": e.score} for e in found])]


def _rules(output: Output) -> list[bytes]:
    """Return JSON of the names of the rules that matched."""
    return [_json(output.rules)]


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()
