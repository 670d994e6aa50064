"""What a model is asked and what it answers, in no protocol's terms."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

from bertwire_runtime.output import Output
from bertwire_runtime.thresholds import MODELS_OWN, Thresholds
from bertwire_runtime.tokenizer import Text

Truncation = Literal["model", "left", "right", "refuse"]


class Priority(IntEnum):
    """Waiting texts of a lower number are run first."""

    HIGH = 0
    NORMAL = 1
    LOW = 2


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
        client: who calls; empty where nobody has to say.
    """

    texts: Sequence[Text]
    model: str = ""
    version: str = ""
    priority: Priority = Priority.NORMAL
    deadline: float | None = None
    truncation: Truncation = "model"
    thresholds: Thresholds = MODELS_OWN
    client: str = ""


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer to one text, and where its time went.

    Attributes:
        output: the answer.
        queue_seconds: wait for a batch.
        tokenize_seconds: tokenizing of the whole call.
        run_seconds: run of the text's batch.
    """

    output: Output
    queue_seconds: float
    tokenize_seconds: float
    run_seconds: float
