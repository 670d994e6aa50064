"""Queries and predictions, independent of protocols."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

from bertwire_runtime.output import Output
from bertwire_runtime.thresholds import MODELS_OWN, Thresholds
from bertwire_runtime.tokenizer import Text

Truncation = Literal["model", "left", "right", "refuse"]


class Priority(IntEnum):
    """Priority of a call; lower numbers run first."""

    HIGH = 0
    NORMAL = 1
    LOW = 2


@dataclass(frozen=True, slots=True)
class Query:
    """One call.

    Attributes:
        model: model name; empty: the server's default.
        version: version or alias; empty: the model's default.
        deadline: on the clock of `time.perf_counter`; None for none.
        truncation: side on which text past the token limit is cut, `model` for that of its training; or refuse.
        thresholds: the caller's thresholds, validated before the run.
        client: the caller; empty without authentication.
        counted: whether the labels given are counted; those of texts that are made of another one are not.
    """

    texts: Sequence[Text]
    model: str = ""
    version: str = ""
    priority: Priority = Priority.NORMAL
    deadline: float | None = None
    truncation: Truncation = "model"
    thresholds: Thresholds = MODELS_OWN
    client: str = ""
    counted: bool = True


@dataclass(frozen=True, slots=True)
class Prediction:
    """The output for one text, with timing.

    Attributes:
        queue_seconds: time in the queue.
        tokenize_seconds: tokenizing of the whole call.
        run_seconds: run time of the text's batch.
    """

    output: Output
    queue_seconds: float
    tokenize_seconds: float
    run_seconds: float
