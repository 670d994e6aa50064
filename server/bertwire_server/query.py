"""What a model is asked and what it answers, in no protocol's terms."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bertwire_runtime.tokenizer import Text

Truncation = Literal["model", "left", "right", "refuse"]


class Priority(IntEnum):
    """Waiting texts of a lower number are run first."""

    HIGH = 0
    NORMAL = 1
    LOW = 2


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Least scores, each in 0 to 1, that a caller asks for.

    Attributes:
        all: for every label or type of entity; None: the model's own.
        by_label: over `all`, for single ones.
    """

    all: float | None = None
    by_label: Mapping[str, float] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return self.all is not None or bool(self.by_label)

    def of(self, label: str, default: float) -> float:
        """The threshold of a label, for which the model has `default`."""
        return self.by_label.get(label, default if self.all is None else self.all)


# Nothing asked for.
MODELS_OWN = Thresholds()


@dataclass(frozen=True, slots=True)
class Query:
    """One call.

    Attributes:
        texts: what to classify; none may be blank.
        model: name of the model; empty for the server's default.
        version: version or alias; empty for the model's default.
        priority: its class.
        deadline: when the answer is of no use any more, on the clock of `time.perf_counter`; None: never.
        truncation: the side on which text past the model's limit is cut, `model` for that of its training; or refuse.
        thresholds: what the caller will decide by; checked before the model runs.
    """

    texts: Sequence[Text]
    model: str = ""
    version: str = ""
    priority: Priority = Priority.NORMAL
    deadline: float | None = None
    truncation: Truncation = "model"
    thresholds: Thresholds = MODELS_OWN


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer to one text.

    Attributes:
        scores: float32 [labels] in the model's order: softmax, sigmoids, or for regression the number itself; for
            token classification float32 [tokens, labels].
        logits: float32 of the same shape.
        words: token classification: for each token that begins a word (its row in `scores`), and the word's start and
            end in the text, in code points; else empty.
        token_count: tokens read, special tokens included.
        truncated: whether the text was cut.
        queue_seconds: wait for a batch.
        tokenize_seconds: tokenizing of the whole call.
        run_seconds: run of the text's batch.
    """

    scores: NDArray[np.float32]
    logits: NDArray[np.float32]
    words: Sequence[tuple[int, int, int]]
    token_count: int
    truncated: bool
    queue_seconds: float
    tokenize_seconds: float
    run_seconds: float
