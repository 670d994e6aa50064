"""Explanation of a decision by occlusion: what a label loses where a word is left out of the text."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

from bertwire_runtime.bundle import Manifest
from bertwire_runtime.heads import HEADS
from bertwire_runtime.spans import Span
from bertwire_runtime.tokenizer import Text
from bertwire_server.call import current
from bertwire_server.errors import InvalidRequest, listed
from bertwire_server.inference import Inference
from bertwire_server.query import Prediction, Query


class Part(NamedTuple):
    """A word, or neighbouring words: in which text of a pair, 0 or 1, and where, in code points."""

    text: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Explained:
    """An explained text.

    Attributes:
        manifest: of the model that answered.
        label: place of the label that is explained.
        whole: the prediction for the whole text.
        parts: what was left out, each with the prediction without it.
    """

    manifest: Manifest
    label: int
    whole: Prediction
    parts: Sequence[tuple[Part, Prediction]]


class Explainer:
    """Explains texts through `Inference`, with its limits."""

    def __init__(self, inference: Inference, most_parts: int) -> None:
        """Create it.

        Args:
            inference: finds and asks the models.
            most_parts: most parts of a text, each of which is a text to run.
        """
        self._inference, self._most_parts = inference, most_parts

    async def explain(self, query: Query, label: str, max_parts: int | None) -> Explained:
        """Explain the only text of a query.

        Args:
            query: its text or pair, and how to run it.
            label: the label to explain; empty: the best one.
            max_parts: most parts that are left out; None: as many as the server allows.

        Raises:
            RequestError: the query failed; the subclass says how.
        """
        most = self._most(max_parts)
        (text,) = query.texts
        with self._inference.lease(query.model, query.version, query.texts) as model:
            place = _place(model.manifest, label)
            if self._most_parts < 2 and not isinstance(text, str):
                raise InvalidRequest("the explanation of a pair needs two spans at least, and the server allows one")
            parts = grouped(await model.words(query), most)
            # None is longer than the whole text, and together they lack it once: so the copies are not made in vain.
            if parts:
                self._check([text] * len(parts), len(parts) + 1)
            texts = [text, *(without(text, each) for each in parts)]
            self._check(texts, len(texts))
            call = current.get()
            call.texts += len(parts)
            whole, *rest = await model.predict(replace(query, texts=texts, client=call.client, counted=False))
            if call.trace is not None:
                call.trace.answered([whole, *rest])
            if place is None:
                place = whole.output.top
            return Explained(model.manifest, place, whole, list(zip(parts, rest, strict=True)))

    def _check(self, texts: Sequence[Text], count: int) -> None:
        try:
            self._inference.check_size(texts)
        except InvalidRequest as error:
            reason = f"{count} texts are run to explain this one: {error}, or set a lower max_spans"
            raise InvalidRequest(reason) from None

    def _most(self, asked: int | None) -> int:
        most = self._most_parts
        if most < 1:
            raise InvalidRequest("the server takes one text a call, and an explanation needs several")
        if asked is not None and not 1 <= asked <= most:
            raise InvalidRequest(f"max_spans is {asked}; it must be 1 to {most}, or unset")
        return most if asked is None else asked


def _place(manifest: Manifest, label: str) -> int | None:
    """Return the place of the label to explain; None for the best one."""
    if HEADS[manifest.task].by_token:
        raise InvalidRequest("the model tags words, and only a label of a whole text can be explained")
    if not manifest.labels:
        raise InvalidRequest("the model gives embeddings, and only a label can be explained")
    if label and label not in manifest.labels:
        raise InvalidRequest(
            f"label is {label[:64]!r}, which the model does not know; it has {listed(manifest.labels)}"
        )
    return manifest.labels.index(label) if label else None


def grouped(words: Sequence[Sequence[Span]], most: int) -> list[Part]:
    """Return at most `most` parts of the words of one text or two, but at least one of each text that has words.

    Words beyond that are grouped with their neighbours, in groups whose sizes differ by one at most.
    """
    parts = list[Part]()
    left, words_left = most, sum(map(len, words))
    for text, spans in enumerate(words):
        others = sum(1 for each in words[text + 1 :] if each)
        share = min(len(spans), max(1, min(round(left * len(spans) / max(words_left, 1)), left - others)))
        bounds = [len(spans) * each // share for each in range(share + 1)] if share else []
        parts += [Part(text, spans[one][0], spans[other - 1][1]) for one, other in pairwise(bounds)]
        left, words_left = left - share, words_left - len(spans)
    return parts


def without(text: Text, part: Part) -> Text:
    """Return a text or pair without a part, and without the white space after it where none is left before it."""
    if isinstance(text, str):
        return _cut(text, part)
    first, second = text
    return (first, _cut(second, part)) if part.text else (_cut(first, part), second)


def _cut(text: str, part: Part) -> str:
    before, after = text[: part.start], text[part.end :]
    return before + (after.lstrip() if not before or before[-1].isspace() else after)
