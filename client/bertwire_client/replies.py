"""What comes back from a server."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LabelScore:
    """A label and its probability in [0, 1]."""

    label: str
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
        labels: `top_k` labels (all of them by default), best first.
        logits: the model's raw outputs in its own label order; empty unless asked for.
        token_count: tokens that the model read, special tokens included.
        truncated: whether the text was longer than the model reads and was cut.
        timing: where the time went inside the server.
    """

    labels: tuple[LabelScore, ...]
    logits: tuple[float, ...]
    token_count: int
    truncated: bool
    timing: Timing

    @property
    def label(self) -> str:
        """The best label."""
        return self.labels[0].label

    @property
    def score(self) -> float:
        """The best label's probability."""
        return self.labels[0].score


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
