"""Inference for all protocols: lease a model, check what it is asked, predict."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from bertwire_runtime.bundle import Manifest
from bertwire_runtime.heads import HEADS
from bertwire_runtime.thresholds import Thresholds
from bertwire_runtime.tokenizer import Text
from bertwire_server.call import current
from bertwire_server.errors import InvalidRequest, listed
from bertwire_server.model.model import Model
from bertwire_server.query import Prediction, Query
from bertwire_server.repository.registry import Registry


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """Limits of a call.

    Attributes:
        texts: most texts.
        text_chars: most characters of a text, or of both of a pair.
        call_chars: most characters of all texts together, where there are several; bounds the time of tokenizing.
    """

    texts: int
    text_chars: int
    call_chars: int


@dataclass(frozen=True, slots=True)
class Answered:
    """The answer to a query.

    Attributes:
        model: the model that answered; its description stays valid after unloading.
        predictions: one per text, in order.
    """

    model: Model
    predictions: Sequence[Prediction]


class Inference:
    """Answers queries with a registry's models."""

    def __init__(self, registry: Registry, limits: RequestLimits) -> None:
        self._registry, self._limits = registry, limits

    @contextmanager
    def lease(self, model: str, version: str, texts: Sequence[Text], *, any_kind: bool = False) -> Iterator[Model]:
        """Lease a model for texts that it can read, and record in the call what is asked of it.

        Args:
            model: its name; empty for the default model.
            version: version or alias; empty for the default version.
            texts: what it shall read.
            any_kind: whether it may be a model of pairs for single texts, which are not run.

        Raises:
            RequestError: there is no such model, or the texts exceed a limit or are not of its kind.
        """
        with self._registry.lease(model, version) as found:
            self._accept(found, texts)
            if not any_kind:
                _check_kind(texts, pairs=found.manifest.text_pairs)
            yield found

    async def predict(self, query: Query, require: Callable[[Manifest], None] = lambda _: None) -> Answered:
        """Answer a query.

        Args:
            query: the query.
            require: raises `InvalidRequest` where the protocol cannot express the model's answer.

        Raises:
            RequestError: the query failed; the subclass says how.
        """
        with self.lease(query.model, query.version, query.texts) as model:
            require(model.manifest)
            return await self._answered(model, query)

    async def predict_by(self, model: Model, query: Query) -> Answered:
        """Answer a query by a model that the caller leased, whatever the query names; errors are those of `predict`."""
        self._accept(model, query.texts)
        _check_kind(query.texts, pairs=model.manifest.text_pairs)
        return await self._answered(model, query)

    async def _answered(self, model: Model, query: Query) -> Answered:
        check_thresholds(query.thresholds, model.manifest)
        call = current.get()
        predictions = await model.predict(replace(query, client=call.client))
        if call.trace is not None:
            call.trace.answered(predictions)
        return Answered(model, predictions)

    def _accept(self, model: Model, texts: Sequence[Text]) -> None:
        _record(model, texts)
        self._check(texts)
        self.check_size(texts)

    def check_count(self, texts: int) -> None:
        """Raise `InvalidRequest` for no text or too many; protocols call it before they parse the texts."""
        if not texts:
            raise InvalidRequest("texts is empty; send at least one text")
        if texts > self._limits.texts:
            raise InvalidRequest(f"{texts} texts in one call; send at most {self._limits.texts}")

    def check_size(self, texts: Sequence[Text]) -> None:
        """Raise `InvalidRequest` where texts are too many, or too long together."""
        self.check_count(len(texts))
        total = sum(len(text) if isinstance(text, str) else sum(map(len, text)) for text in texts)
        if total > self._limits.call_chars and len(texts) > 1:
            raise InvalidRequest(f"{total} characters in one call; send at most {self._limits.call_chars}")

    def _check(self, texts: Sequence[Text]) -> None:
        for index, text in enumerate(texts):
            parts = (text,) if isinstance(text, str) else text
            chars = sum(map(len, parts))
            if chars > self._limits.text_chars:
                raise InvalidRequest(f"texts[{index}] has {chars} characters; send at most {self._limits.text_chars}")
            if any(not part or part.isspace() for part in parts):
                raise InvalidRequest(f"texts[{index}] is blank; send text with at least one visible character")


def _record(model: Model, texts: Sequence[Text]) -> None:
    """Record in the call, for all that reports on it, which model is asked to read which texts."""
    call = current.get()
    call.model, call.model_version = model.manifest.name, model.manifest.version
    call.texts += len(texts)
    call.content = texts


def _check_kind(texts: Sequence[Text], *, pairs: bool) -> None:
    if pairs and any(isinstance(text, str) for text in texts):
        raise InvalidRequest("the model reads pairs of texts; send a second text with each")
    if not pairs and any(not isinstance(text, str) for text in texts):
        raise InvalidRequest("the model reads single texts; send no second text")


def check_thresholds(thresholds: Thresholds, manifest: Manifest) -> None:
    """Raise `InvalidRequest` where a threshold is outside [0, 1] or names an unknown label."""
    if not thresholds:
        return
    names = HEADS[manifest.task].names(manifest)
    known = set(names)
    if not known:
        raise InvalidRequest("the model gives a number, which no threshold applies to; send none")
    if thresholds.all is not None and not 0 <= thresholds.all <= 1:
        raise InvalidRequest(f"threshold is {thresholds.all}; a score lies in 0 to 1")
    for label, value in thresholds.by_label.items():
        if label not in known:
            raise InvalidRequest(
                f"thresholds names {label[:64]!r}, which the model does not know; it has {listed(names)}"
            )
        if not 0 <= value <= 1:
            raise InvalidRequest(f"thresholds[{label[:64]!r}] is {value}; a score lies in 0 to 1")
