"""The training run from the prepared job to the published checkpoint folder."""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from transformers import set_seed

from bertwire_trainer.architecture import require_trainable
from bertwire_trainer.config import TrainConfig
from bertwire_trainer.data import Data
from bertwire_trainer.disk import one_line_faults, require_space
from bertwire_trainer.finetune import DevSet, Recipe, finetune
from bertwire_trainer.loading import load_model, reads_type_ids, require_tables
from bertwire_trainer.messages import figures, note, say
from bertwire_trainer.partial import Partial, Started
from bertwire_trainer.prepare import Job
from bertwire_trainer.prior import start_at_prior
from bertwire_trainer.recipe import Loss, balanced_weights, choose_precision, make_loss, recipe, training_arguments
from bertwire_trainer.record import Setup, SplitRecord
from bertwire_trainer.result import evaluate, save, write_record
from bertwire_trainer.tokenizer import load_tokenizer
from bertwire_trainer.tokens import TokenDataset
from bertwire_trainer.trial import require_answers

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def train_model(job: Job) -> None:
    """Trains as `job` says; writes the checkpoint folder whole, or leaves OUTPUT.partial to resume from.

    Raises:
        UserError: the base checkpoint, the device or the disk does not allow it.
    """
    config, data, base, partial = job.config, job.data, job.base, job.partial
    precision = choose_precision(config.precision, cuda=torch.cuda.is_available(), fast_bf16=_has_fast_bf16())
    require_trainable(base, data.task)
    tokenizer = load_tokenizer(base, data.task, config.truncation_side)
    set_seed(config.seed)
    model = load_model(base, data.task, data.labels)
    start_at_prior(model, data.task, data.targets["train"])
    require_tables(base, model, len(tokenizer), config.max_length)
    tokenizer.model_max_length = config.max_length
    require_answers(base, model, tokenizer)
    setup = _setup(config, data, base.name, recipe(config, precision))

    with one_line_faults(partial.path):
        require_space(partial.path, _weight_bytes(model), _prediction_bytes(data))
        checkpoint = partial.start(Started(**setup.model_dump(), location=base.location), resume=config.resume)
        try:
            tokens = _tokens(model, tokenizer, data, config.max_length)
            arguments = training_arguments(config, precision, partial.epochs)
            plan = Recipe(arguments, _loss(config, data), config.patience, partial.result / "logs", checkpoint)
            dev = DevSet(tokens["dev"], data.labels, data.dev.words())
            best_epoch = finetune(model, tokenizer, tokens["train"], dev, plan)
            save(model, tokenizer, partial.result)
            metrics = evaluate(partial.result, tokenizer, data, tokens)
            write_record(partial.result, setup, metrics, best_epoch, time.perf_counter() - job.begun)
            partial.publish(job.output, overwrite=job.config.overwrite)
        except KeyboardInterrupt:
            note(_interrupted(partial))
            raise
    for name, scores in metrics.items():
        say(f"{config.output}: {name} {figures(scores)}")


def _interrupted(partial: Partial) -> str:
    if partial.last_whole() is None:
        return "interrupted before an epoch was saved: there is nothing to go on from; start over with --overwrite"
    return f"interrupted; repeat the command with --resume to go on from the last whole epoch in {partial.path}"


def _has_fast_bf16() -> bool:
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # With AMX, bf16 trains 1.4 to 1.9 times as fast as fp32; without it torch's bf16 products can be slower.
    cpu = Path("/proc/cpuinfo")
    return cpu.is_file() and "amx_bf16" in cpu.read_text(encoding="utf-8", errors="replace")


def _setup(config: TrainConfig, data: Data, base_model: str, options: dict[str, object]) -> Setup:
    splits = {
        name: SplitRecord(source=split.source, rows=len(split), sha256=split.sha256())
        for name, split in data.splits().items()
    }
    return Setup(
        task=data.task,
        text_pairs=data.train.text_pairs,
        labels=data.labels,
        max_length=config.max_length,
        truncation_side=config.truncation_side,
        base_model=base_model,
        recipe=options,
        seed=config.seed,
        data=splits,
    )


def _weight_bytes(model: "PreTrainedModel") -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in model.parameters())


def _prediction_bytes(data: Data) -> int:
    """Bytes of the rows of dev and test as JSON, with some 20 digits a logit."""
    rows = sum(len(json.dumps(each).encode()) for split in data.held_out().values() for each in split.inputs)
    return rows + 20 * len(data.labels) * sum(len(data.targets[name]) for name in data.held_out())


def _loss(config: TrainConfig, data: Data) -> Loss:
    balanced = config.class_weights == "balanced"
    weights = balanced_weights(data.targets["train"], len(data.labels)) if balanced else None
    return make_loss(data.task, weights, config.label_smoothing)


def _tokens(
    model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", data: Data, max_length: int
) -> dict[str, TokenDataset]:
    type_ids = data.train.text_pairs and reads_type_ids(model)
    return {
        name: TokenDataset(tokenizer, split, data.targets[name], max_length, type_ids=type_ids)
        for name, split in data.splits().items()
    }
