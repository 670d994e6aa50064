"""The folder that becomes the checkpoint: weights, tokenizer, predictions, record."""

import json
import platform
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy
import torch
from numpy.typing import NDArray

from bertwire_core.errors import UserError
from bertwire_core.pooled import PooledClassifier
from bertwire_data.labelled import Labelled, decisions
from bertwire_data.tasks import TASK_ROWS
from bertwire_trainer.messages import say
from bertwire_trainer.method import Fitted, Job
from bertwire_trainer.predict import predict
from bertwire_trainer.record import RECORD, Setup, TrainingRecord
from bertwire_trainer.same import difference
from bertwire_trainer.scores import measure, report
from bertwire_trainer.tokens import tokenize
from bertwire_trainer.trained import load_trained
from bertwire_trainer.trust.record import TrustRecord

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from bertwire_core.pooled import Classifier


def save(model: "Classifier", tokenizer: "PreTrainedTokenizerBase", folder: Path) -> None:
    """Write the weights in one safetensors file, the configuration and the tokenizer."""
    if isinstance(model, PooledClassifier):
        model.save(folder)
    else:
        model.save_pretrained(folder, max_shard_size="1TB")
    # Training set truncation on the Rust tokenizer; how to cut and pad is for the user of the checkpoint to say.
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.save_pretrained(folder)
    # safetensors closes its file to all but the owner, whatever the umask says of the others.
    (folder / "model.safetensors").chmod((folder / "config.json").stat().st_mode)


def evaluate(
    folder: Path, fitted: Fitted, job: Job, setup: Setup
) -> tuple[dict[str, dict[str, float]], dict[str, NDArray[numpy.float32]]]:
    """Score dev and test in float32 with the checkpoint as `folder` has it, whatever precision trained it.

    Write `predictions/` and print the report of test.

    Returns:
        The figures of each split, and its logits, by its name.

    Raises:
        UserError: the checkpoint does not give the logits of the fitted model on dev.
    """
    data = job.data
    fitted.model.to("cuda" if torch.cuda.is_available() else "cpu")  # type: ignore[arg-type]
    trained = predict(fitted.model, fitted.tokenizer, job.tokens["dev"], data.labels, "dev")
    model, tokenizer = load_trained(folder, setup)
    metrics, found = {}, {}
    for name, split in data.held_out().items():
        tokens = tokenize(model, tokenizer, split, data.targets[name])
        logits = predict(model, tokenizer, tokens, data.labels, f"score {name}")
        if name == "dev" and (worst := difference(trained, logits)) is not None:
            raise UserError(
                f"the saved checkpoint gives dev other logits than the trained model, by up to {worst:.2g}, and is not "
                "published; choose another --model or --method"
            )
        answers = (data.task, logits, data.targets[name], data.labels, split.words())
        write_predictions(folder / "predictions" / f"{name}.jsonl", split, data.labels, logits)
        metrics[name], found[name] = measure(*answers), logits
        if name == "test" and (text := report(*answers)):
            say(f"test:\n{text}")
    return metrics, found


def write_predictions(path: Path, split: Labelled, labels: list[str], logits: NDArray[numpy.float32]) -> None:
    """Write one JSON object for each text, which `read_labelled` reads for the same task with the default columns.

    `text` and, for pairs, `text_pair`, or `tokens`; the target as `label`, `labels` or `tags`; `predicted` in the same
    form; `logits`, floats in label order, for token classification a list of them for each word.
    """
    path.parent.mkdir(exist_ok=True)
    predicted = decisions(split.task, logits, labels, split.words())
    by_text = numpy.split(logits, numpy.cumsum(words)[:-1]) if (words := split.words()) else logits
    with path.open("w", encoding="utf-8") as file:
        for given, decided, row in zip(_given(split), predicted, by_text, strict=True):
            file.write(json.dumps(given | {"predicted": decided, "logits": row.tolist()}, ensure_ascii=False) + "\n")


def _given(split: Labelled) -> Iterator[dict[str, Any]]:
    label = TASK_ROWS[split.task].label_column
    for each, target in zip(split.inputs, split.targets, strict=True):
        if isinstance(each, tuple):
            texts: dict[str, Any] = {"text": each[0], "text_pair": each[1]}
        else:
            texts = {"text" if isinstance(each, str) else "tokens": each}
        yield texts | {label: target}


def write_record(
    folder: Path,
    setup: Setup,
    metrics: dict[str, dict[str, float]],
    fitted: Fitted,
    trust: TrustRecord,
    remarks: list[str],
    seconds: float,
) -> None:
    """Write `training.json`; `seconds` is the wall-clock time of the command."""
    versions = {name: version(name) for name in ("bertwire", "torch", "transformers")}
    record = TrainingRecord(
        **setup.model_dump(exclude={"stages"}),
        stages={name: options | fitted.stages.get(name, {}) for name, options in setup.stages.items()},
        metrics=metrics,
        best_epoch=fitted.best_epoch,
        weights=fitted.weights,
        **dict(trust),
        remarks=remarks,
        chosen=fitted.chosen,
        versions=versions | {"python": platform.python_version()},
        seconds=round(seconds, 1),
    )
    (folder / RECORD).write_text(record.model_dump_json(indent=2) + "\n", encoding="utf-8")
