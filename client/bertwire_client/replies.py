"""What comes back from a server."""

from collections.abc import Mapping
from dataclasses import dataclass

from bertwire_client.errors import RequestError


@dataclass(frozen=True, slots=True)
class LabelScore:
    """A label and its score.

    Attributes:
        label: its name; for regression the name of the number.
        score: its probability in [0, 1]; for regression the number itself.
        predicted: whether the model decides for it.
    """

    label: str
    score: float
    predicted: bool = False


@dataclass(frozen=True, slots=True)
class Entity:
    """A stretch of a text.

    Attributes:
        label: its type.
        start: index of its first character in the text as sent: `text[start:end]` is the entity.
        end: index behind its last.
        score: mean probability of its words' tags, in [0, 1].
    """

    label: str
    start: int
    end: int
    score: float


@dataclass(frozen=True, slots=True)
class Timing:
    """Where the time of one text went inside the server, in microseconds of wall-clock time.

    Attributes:
        queue_us: waiting for a batch.
        tokenize_us: tokenizing, with all texts of the same call.
        run_us: the model's run of the batch that held this text.
    """

    queue_us: int
    tokenize_us: int
    run_us: int


@dataclass(frozen=True, slots=True)
class Result:
    """The answer to one text.

    Attributes:
        labels: `top_k` labels (all of them by default), best first; one for regression; none for token classification.
        logits: the model's raw outputs in its own label order, for token classification those of one token after the
            other; empty unless asked for.
        token_count: tokens that the model read, special tokens included.
        truncated: whether the text was longer than the model reads and was cut.
        timing: where the time went inside the server.
        entities: for token classification the entities in the order of the text.
    """

    labels: tuple[LabelScore, ...]
    logits: tuple[float, ...]
    token_count: int
    truncated: bool
    timing: Timing
    entities: tuple[Entity, ...] = ()

    @property
    def label(self) -> str:
        """The best label."""
        return self._best().label

    @property
    def score(self) -> float:
        """The best label's probability; for regression the number."""
        return self._best().score

    @property
    def predicted(self) -> tuple[str, ...]:
        """The labels that the model decides for, best first; of those asked for by `top_k`."""
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
        results: one for each text, in the order of the texts.
    """

    model: str
    model_version: str
    results: tuple[Result, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one request of a stream.

    Attributes:
        index: the place of the request among those given to the stream; the first is 0.
        outcome: the reply, or why there is none.
    """

    index: int
    outcome: Reply | RequestError

    @property
    def reply(self) -> Reply:
        """The reply; where there is none, its `RequestError` is raised."""
        if isinstance(self.outcome, RequestError):
            raise self.outcome
        return self.outcome


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A version of a model that a server has.

    Attributes:
        name: the model's name.
        version: its version.
        aliases: names under which this version can be asked too.
        default: whether it answers for its name where no version is given.
        state: loading, ready, unloading, unavailable, or unknown. What follows is known only of a ready one.
        reason: why it is unavailable.
        task: single_label, multi_label, token_classification or regression.
        text_pairs: whether it reads two texts at a time.
        labels: labels or tags in the order of the logits; for regression the name of the number.
        max_length: most tokens that it reads, special tokens included.
        variant: the graph that it runs.
        precision: fp32, fp16 or int8.
        provider: cpu or cuda.
        quality: what this graph scored on the held-out texts, by metric.
        proven: whether it gave, on the server's machine, the logits that the bundle has of it; False also where that
            has none.
        fallback_reason: why a better graph of the bundle is not served; empty where the best one is.
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
