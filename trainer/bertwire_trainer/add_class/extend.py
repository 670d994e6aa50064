"""Rows of the linear layer for new classes."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from bertwire_core.errors import UserError
from bertwire_core.files import whole_folder
from bertwire_core.pooled import PooledClassifier
from bertwire_data.labelled import encode_targets
from bertwire_trainer.add_class.prepare import Prepared
from bertwire_trainer.cosine import class_means, cosine_scale
from bertwire_trainer.messages import figures, note, say
from bertwire_trainer.predict import embed, predict
from bertwire_trainer.record import RECORD, AddedRecord, SplitRecord
from bertwire_trainer.result import save, write_predictions
from bertwire_trainer.scores import measure
from bertwire_trainer.tokens import tokenize
from bertwire_trainer.trained import load_trained
from bertwire_trainer.trust.record import TrustRecord

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def extend(prepared: Prepared) -> None:
    """Write the checkpoint with the new labels.

    Raises:
        UserError: the checkpoint is damaged, or its head is of another kind.
    """
    record, checkpoint = prepared.record, prepared.config.checkpoint
    model, tokenizer = load_trained(checkpoint, record)
    scale = cosine_scale(model) if isinstance(model, PooledClassifier) else None
    if not isinstance(model, PooledClassifier) or scale is None:
        raise UserError(
            f"{checkpoint}: its head has no vector of one length for each class, to which others could be added; train "
            "with --method prototypes or zero-shot"
        )
    _add_rows(model, scale * _prototypes(prepared, model, tokenizer), record.labels + prepared.labels)
    with whole_folder(prepared.output, overwrite=prepared.config.overwrite) as folder:
        save(model, tokenizer, folder)
        _keep_tokenizer(checkpoint, folder)
        metrics = _score(prepared, folder)
        _write_record(prepared, metrics, folder)
    for name, scores in metrics.items():
        say(f"{prepared.output}: {name} {figures(scores)}; before {figures(record.metrics.get(name, {}))}")
    if "abstain" in record.stages:
        note("the model abstains no more: its threshold was chosen without the new labels; train again with --abstain")
    note(f"added {', '.join(prepared.labels)}; no row of dev or test has a label of them, so that none is measured")


def _keep_tokenizer(checkpoint: Path, folder: Path) -> None:
    """Copy the checkpoint's tokenizer files: loaded and saved again, they are not the same byte for byte."""
    for path in folder.glob("*token*.json"):
        if (checkpoint / path.name).is_file():
            shutil.copyfile(checkpoint / path.name, path)


def _prototypes(prepared: Prepared, model: PooledClassifier, tokenizer: "PreTrainedTokenizerBase") -> torch.Tensor:
    """Return the normalized mean of the examples of each new label, float32 [new labels, size]."""
    targets = encode_targets(prepared.examples, prepared.labels)
    tokens = tokenize(model, tokenizer, prepared.examples, targets)
    (vectors,) = embed(model, tokenizer, tokens, "embed examples")
    return torch.from_numpy(class_means(vectors, targets, len(prepared.labels)))


def _add_rows(model: PooledClassifier, rows: torch.Tensor, labels: list[str]) -> None:
    """Append rows, float32 [new labels, size], to the linear layer, whose labels are then `labels`."""
    weight = torch.cat([model.head.weight.detach(), rows.to(model.device)])
    model.head = torch.nn.Linear(weight.shape[1], len(labels), device=model.device)
    model.set_head(weight, torch.zeros(len(labels), device=model.device))
    model.config.id2label = dict(enumerate(labels))
    model.config.label2id = {label: place for place, label in enumerate(labels)}


def _score(prepared: Prepared, folder: Path) -> dict[str, dict[str, float]]:
    """Write the predictions of the checkpoint in `folder` for dev and test, and return their figures."""
    model, tokenizer = load_trained(folder, prepared.record)
    labels, metrics = prepared.record.labels + prepared.labels, {}
    for name, split in prepared.held_out.items():
        targets = encode_targets(split, labels)
        logits = predict(model, tokenizer, tokenize(model, tokenizer, split, targets), labels, f"score {name}")
        write_predictions(folder / "predictions" / f"{name}.jsonl", split, labels, logits)
        metrics[name] = measure(split.task, logits, targets, labels, None)
    return metrics


def _write_record(prepared: Prepared, metrics: dict[str, dict[str, float]], folder: Path) -> None:
    examples, record = prepared.examples, prepared.record
    added = AddedRecord(
        labels=prepared.labels,
        examples=SplitRecord(source=examples.source, rows=len(examples), sha256=examples.sha256()),
    )
    new = record.model_copy(
        update={
            "labels": record.labels + prepared.labels,
            "metrics": metrics,
            "added": [*record.added, added],
            "stages": {name: stage for name, stage in record.stages.items() if name != "abstain"},
        }
        # What was measured of the checkpoint without them.
        | dict(TrustRecord())
    )
    (folder / RECORD).write_text(new.model_dump_json(indent=2) + "\n", encoding="utf-8")
