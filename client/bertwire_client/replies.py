"""Replies of a server."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bertwire_client.errors import RequestError


@dataclass(frozen=True, slots=True)
class LabelScore:
    """A label and its score.

    Attributes:
        label: its name; for regression the number's name.
        score: its probability in [0, 1]; for regression the number itself.
        predicted: whether it is part of the model's decision.
    """

    label: str
    score: float
    predicted: bool = False


@dataclass(frozen=True, slots=True)
class Entity:
    """A span of a text.

    Attributes:
        label: its type.
        start: index of its first character in the text as sent: `text[start:end]` is the entity.
        end: index after its last character.
        score: mean probability of its words' tags, in [0, 1].
    """

    label: str
    start: int
    end: int
    score: float


@dataclass(frozen=True, slots=True)
class Timing:
    """Server-side time of one text, in microseconds of wall-clock time.

    Attributes:
        queue_us: waiting for a batch.
        tokenize_us: tokenizing all texts of the call.
        run_us: the batch's run.
    """

    queue_us: int
    tokenize_us: int
    run_us: int


@dataclass(frozen=True, slots=True)
class Result:
    """The answer to one text.

    Attributes:
        labels: `top_k` labels (default: all), best first; one for regression; none for token classification.
        logits: raw outputs in the model's label order, for token classification token by token; empty unless requested.
        token_count: tokens after truncation, special tokens included.
        truncated: whether the text exceeded the model's token limit and was cut.
        timing: server-side time.
        entities: for token classification the entities in text order.
        rules: names of the model's rules that match the text, in the order of their file.
        abstained: whether the text looks like none of the labels; then none is predicted.
    """

    labels: tuple[LabelScore, ...]
    logits: tuple[float, ...]
    token_count: int
    truncated: bool
    timing: Timing
    entities: tuple[Entity, ...] = ()
    rules: tuple[str, ...] = ()
    abstained: bool = False

    @property
    def label(self) -> str:
        """Return the best label, predicted or not; raise `ValueError` for token classification."""
        return self._best().label

    @property
    def score(self) -> float:
        """Return the best label's probability; for regression the number."""
        return self._best().score

    @property
    def predicted(self) -> tuple[str, ...]:
        """Return the predicted labels among the `top_k` requested, best first."""
        return tuple(each.label for each in self.labels if each.predicted)

    def _best(self) -> LabelScore:
        if not self.labels:
            raise ValueError("the model finds entities, and has no label for the text as a whole; see entities")
        return self.labels[0]


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to one call.

    Attributes:
        model: name of the model that answered.
        model_version: its version.
        results: one per text, in order.
    """

    model: str
    model_version: str
    results: tuple[Result, ...]


@dataclass(frozen=True, slots=True)
class Embedding:
    """The vector of one text.

    Attributes:
        vector: its numbers.
        token_count: tokens after truncation, special tokens included.
        truncated: whether the text exceeded the model's token limit and was cut.
        timing: server-side time.
    """

    vector: tuple[float, ...]
    token_count: int
    truncated: bool
    timing: Timing


@dataclass(frozen=True, slots=True)
class EmbedReply:
    """The vectors of the texts of one call.

    Attributes:
        model: name of the model that answered.
        model_version: its version.
        embeddings: one per text, in order.
    """

    model: str
    model_version: str
    embeddings: tuple[Embedding, ...]

    def vectors(self) -> Any:  # noqa: ANN401 - an array, or lists
        """Return the vectors: a float32 array [texts, dimensions] where numpy is installed, else a list of lists."""
        rows = [each.vector for each in self.embeddings]
        try:
            import numpy
        except ModuleNotFoundError:
            return list(map(list, rows))
        return numpy.array(rows, numpy.float32)


@dataclass(frozen=True, slots=True)
class Attribution:
    """What a word, or a group of words, of an explained text adds to the label.

    Attributes:
        start: index of its first character in the text as sent, or in its second text.
        end: index after its last character.
        in_text_pair: whether it is in the second text of a pair.
        logit: by how much the label's logit is lower without it, the model's own: above 0 where it speaks for the
            label.
        score: the same of its score, which is with the model's rules.
    """

    start: int
    end: int
    in_text_pair: bool
    logit: float
    score: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """Which words of a text speak for a label and which against it.

    Attributes:
        model: name of the model that answered.
        model_version: its version.
        label: the label that is explained.
        logit: its logit for the whole text.
        score: its score.
        spans: in the order of the text, then of its second text; of a text that was cut only what the model read.
        truncated: whether the text exceeded the model's token limit and was cut.
        rules: names of the model's rules that match the text, in the order of their file. Where there are any, only the
            scores explain what was answered.
    """

    model: str
    model_version: str
    label: str
    logit: float
    score: float
    spans: tuple[Attribution, ...]
    truncated: bool
    rules: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one request of a stream.

    Attributes:
        index: position of the request in the stream, from 0.
        outcome: the reply or the error.
    """

    index: int
    outcome: Reply | RequestError

    @property
    def reply(self) -> Reply:
        """Return the reply, or raise the request's `RequestError`."""
        if isinstance(self.outcome, RequestError):
            raise self.outcome
        return self.outcome


@dataclass(frozen=True, slots=True)
class EmbedAnswer:
    """The answer to one request of a stream of texts to embed.

    Attributes:
        index: position of the request in the stream, from 0.
        outcome: the reply or the error.
    """

    index: int
    outcome: EmbedReply | RequestError

    @property
    def reply(self) -> EmbedReply:
        """Return the reply, or raise the request's `RequestError`."""
        if isinstance(self.outcome, RequestError):
            raise self.outcome
        return self.outcome


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model version on a server.

    Attributes:
        name: the model's name.
        version: its version.
        aliases: other names of this version.
        default: whether it answers requests that name no version.
        state: loading, ready, unloading, unavailable, or unknown; the fields from `task` on are set only when ready.
        reason: why it is unavailable.
        task: single_label, multi_label, token_classification, regression or embedding.
        text_pairs: whether it takes text pairs.
        labels: labels or tags in logit order; for regression the number's name; none for an embedding.
        max_length: most tokens per text, special tokens included.
        variant: name of the variant in use.
        precision: fp32, fp16 or int8.
        provider: cpu or cuda.
        quality: the variant's scores on held-out texts, by metric.
        proven: whether it passed the bundle's probe on the server's machine; False without a probe.
        fallback_reason: why a better variant of the bundle is not used; empty where the best one is.
        rules: names of its rules, in the order of their file.
        abstains: whether it recognizes texts that belong to none of its labels.
        dimensions: length of the vectors that it gives; 0 for none.
    """

    name: str
    version: str
    aliases: tuple[str, ...]
    default: bool
    state: str
    reason: str
    task: str
    text_pairs: bool
    labels: tuple[str, ...]
    max_length: int
    variant: str
    precision: str
    provider: str
    quality: Mapping[str, float]
    proven: bool
    fallback_reason: str
    rules: tuple[str, ...] = ()
    abstains: bool = False
    dimensions: int = 0
