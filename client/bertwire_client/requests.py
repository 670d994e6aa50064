"""Requests to a server."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

from bertwire.v1 import classifier_pb2 as pb
from bertwire.v1.embedder_pb2 import EmbedRequest

Truncation = Literal["model", "left", "right", "refuse"]
Priority = Literal["low", "normal", "high"]

# gRPC metadata; the server logs `x-request-id`.
Metadata = Sequence[tuple[str, str]]

_TRUNCATIONS: dict[Truncation, pb.Truncation] = {
    "model": pb.TRUNCATION_UNSPECIFIED,
    "left": pb.TRUNCATION_LEFT,
    "right": pb.TRUNCATION_RIGHT,
    "refuse": pb.TRUNCATION_REFUSE,
}
_PRIORITIES: dict[Priority, pb.Priority] = {
    "low": pb.PRIORITY_LOW,
    "normal": pb.PRIORITY_NORMAL,
    "high": pb.PRIORITY_HIGH,
}

_PAIR = 2


class Options(TypedDict, total=False):
    """Classification keywords of `classify` and `stream`; see `Request`."""

    top_k: int | None
    logits: bool
    model: str
    model_version: str
    threshold: float | None
    thresholds: Mapping[str, float] | None
    truncation: Truncation
    priority: Priority


class ExplainOptions(TypedDict, total=False):
    """Keywords of `explain`, see `explain_request`."""

    text_pair: str | None
    label: str
    max_spans: int | None
    model: str
    model_version: str
    truncation: Truncation
    priority: Priority


class EmbedOptions(TypedDict, total=False):
    """Keywords of `embed`, see `embed_request`."""

    dimensions: int | None
    normalize: bool
    model: str
    model_version: str
    truncation: Truncation
    priority: Priority


@dataclass(frozen=True, slots=True)
class Request:
    """Texts and how to classify them.

    Attributes:
        texts: one or many texts; the server limits number and length.
        text_pairs: for a text pair model the second text of each.
        top_k: most labels per text, best first; None: all.
        logits: also return raw logits.
        model: model name; empty: the server's default.
        model_version: version or alias; empty: the model's default.
        threshold: least score of a predicted label or returned entity; None: the model's own.
        thresholds: per label or entity type, in place of `threshold`.
        truncation: side on which text past the model's token limit is cut, `model` for that of its training; or refuse.
        priority: texts of a higher priority run first.
    """

    texts: Sequence[str]
    text_pairs: Sequence[str] | None = None
    top_k: int | None = None
    logits: bool = False
    model: str = ""
    model_version: str = ""
    threshold: float | None = None
    thresholds: Mapping[str, float] | None = None
    truncation: Truncation = "model"
    priority: Priority = "normal"

    def message(self) -> pb.ClassifyRequest:
        """Return the protocol message.

        Raises:
            TypeError: `texts` or `text_pairs` is one string, or holds something that is not a string.
            ValueError: a text has a lone surrogate, texts and second texts differ in number, or an option is invalid.
        """
        _require_texts("texts", self.texts)
        if self.text_pairs is not None:
            _require_texts("text_pairs", self.text_pairs)
            if len(self.text_pairs) != len(self.texts):
                raise ValueError(f"{len(self.text_pairs)} text_pairs for {len(self.texts)} texts; give one with each")
        truncation, priority = _truncation(self.truncation), _priority(self.priority)
        try:
            return pb.ClassifyRequest(
                texts=self.texts,
                text_pairs=self.text_pairs,
                top_k=self.top_k,
                logits=self.logits,
                model=self.model,
                model_version=self.model_version,
                threshold=self.threshold,
                thresholds=self.thresholds,
                truncation=truncation,
                priority=priority,
            )
        except UnicodeEncodeError as error:
            raise ValueError(f"a text or the model's name has no UTF-8 form: {error}") from None


def explain_request(text: str, options: ExplainOptions) -> pb.ExplainRequest:
    """Return the message that asks for an explanation of a text.

    Raises:
        TypeError: a text is no string, or an option is unknown or of another type.
        ValueError: a text has a lone surrogate, or an option is invalid.
    """
    if unknown := set(options) - set(ExplainOptions.__annotations__):
        raise TypeError(f"explain has no option {min(unknown)!r}")
    values: dict[str, Any] = dict(options)
    for name, value in (("text", text), ("text_pair", options.get("text_pair"))):
        if not isinstance(value, str) and (name == "text" or value is not None):
            raise TypeError(f"{name} is not a string but {type(value).__name__}")
    values["truncation"] = _truncation(options.get("truncation", "model"))
    values["priority"] = _priority(options.get("priority", "normal"))
    try:
        return pb.ExplainRequest(text=text, **values)
    except UnicodeEncodeError as error:
        raise ValueError(f"a text or a name has no UTF-8 form: {error}") from None


def embed_request(texts: Sequence[str], options: EmbedOptions) -> EmbedRequest:
    """Return the message that asks for the vectors of texts.

    Raises:
        TypeError: `texts` is one string, or holds something else, or an option is unknown or of another type.
        ValueError: a text has a lone surrogate, or an option is invalid.
    """
    if unknown := set(options) - set(EmbedOptions.__annotations__):
        raise TypeError(f"embed has no option {min(unknown)!r}")
    _require_texts("texts", texts)
    values: dict[str, Any] = dict(options)
    values["truncation"] = _truncation(options.get("truncation", "model"))
    values["priority"] = _priority(options.get("priority", "normal"))
    try:
        return EmbedRequest(texts=texts, **values)
    except UnicodeEncodeError as error:
        raise ValueError(f"a text or the model's name has no UTF-8 form: {error}") from None


def _truncation(name: Truncation) -> pb.Truncation:
    if name not in _TRUNCATIONS:
        raise ValueError(f"truncation is {name!r}; choose one of {', '.join(_TRUNCATIONS)}")
    return _TRUNCATIONS[name]


def _priority(name: Priority) -> pb.Priority:
    if name not in _PRIORITIES:
        raise ValueError(f"priority is {name!r}; choose one of {', '.join(_PRIORITIES)}")
    return _PRIORITIES[name]


def checked(metadata: Metadata) -> Metadata:
    """Return metadata that gRPC accepts; raise `TypeError` or `ValueError` without quoting values, unlike gRPC."""
    pairs = tuple(metadata)
    if isinstance(metadata, Mapping) or not all(isinstance(each, tuple) and len(each) == _PAIR for each in pairs):
        raise TypeError('metadata are pairs of a name and a value; pass for example [("x-request-id", "7f3a")]')
    for key, value in pairs:
        if not re.fullmatch(r"[0-9a-z_.-]+", key) or key.startswith("grpc-") or key.endswith("-bin"):
            raise ValueError(f"metadata cannot be named {key!r}; use a-z, 0-9, _, . and -, not grpc-... or ...-bin")
        if not isinstance(value, str) or not value.isascii() or not value.isprintable():
            raise ValueError(f"the value of {key!r} in metadata is not one line of ASCII characters")
    return pairs


def refuse_single(name: str, texts: object) -> None:
    """Raise `TypeError` for a single string, which would be iterated by character."""
    if isinstance(texts, (str, bytes)):
        raise TypeError(f"{name} is a single string; pass a list of texts, for example [text]")


def _require_texts(name: str, texts: Sequence[str]) -> None:
    refuse_single(name, texts)
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"{name}[{index}] is not a string but {type(text).__name__}")
