"""The training run, whatever the method and its stages: load, fit, prove what was saved, publish."""

import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from transformers import set_seed

from bertwire_core.chunks import KEY, Chunks
from bertwire_core.scope import SCOPE, write_centroids
from bertwire_trainer import ranks
from bertwire_trainer.architecture import require_trainable
from bertwire_trainer.coverage import uncovered
from bertwire_trainer.data import Data
from bertwire_trainer.device import Precision, choose_precision, has_fast_bf16
from bertwire_trainer.disk import one_line_faults, require_space
from bertwire_trainer.loading import load_encoder, load_model, require_tables
from bertwire_trainer.messages import figures, note, say, warn
from bertwire_trainer.method import Fitted, Job, MethodOptions, Report, Scale
from bertwire_trainer.methods import METHODS
from bertwire_trainer.partial import Partial, Started
from bertwire_trainer.poolings import first_pooling, settle_pooling
from bertwire_trainer.prepare import Prepared
from bertwire_trainer.prior import start_at_prior
from bertwire_trainer.recipe import NAME, recipe_of, write_recipe
from bertwire_trainer.record import PoolingRecord, Setup, SplitRecord
from bertwire_trainer.report import write_report
from bertwire_trainer.result import evaluate, save, write_record
from bertwire_trainer.stage import Fit, Stage
from bertwire_trainer.stages import staged
from bertwire_trainer.tokenizer import load_tokenizer
from bertwire_trainer.tokens import tokenize
from bertwire_trainer.trial import require_answers
from bertwire_trainer.trust.examine import examine
from bertwire_trainer.trust.folds import cross_validate

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from bertwire_core.pooled import Classifier


def train_model(prepared: Prepared, report: Report | None = None) -> None:
    """Train by the chosen method; publish the checkpoint folder whole, or leave OUTPUT.partial to resume from.

    Args:
        prepared: the run.
        report: as for `Job`.

    Raises:
        UserError: the base checkpoint, the device or the disk does not allow it.
    """
    with ranks.joined():
        _train(prepared, report)


def _train(prepared: Prepared, report: Report | None) -> None:
    config, data, partial = prepared.config, prepared.data, prepared.partial
    trust = config.trust
    precision = choose_precision(config.precision, cuda=torch.cuda.is_available(), fast_bf16=has_fast_bf16())
    set_seed(config.seed)
    model, tokenizer, pooling = _pretrained(prepared)
    job = _job(prepared, model, tokenizer, precision, report)
    given = prepared.options
    prepared = replace(prepared, options=given.suited(_scale(job)))
    setup = _setup(prepared, precision, pooling)

    with one_line_faults(partial.path):
        if ranks.is_first():
            require_space(partial.path, _weight_bytes(model), _prediction_bytes(data), len(prepared.stages))
            started = Started(**setup.model_dump(), location=prepared.base.location)
            partial.start(started, resume=config.resume)
        ranks.wait()
        try:
            unseen = uncovered(job.tokens["train"], config.max_length, prepared.base.name)
            warn(unseen)
            of_folds = {name: stage for name, stage in prepared.stages.items() if stage.in_folds}
            folds = None if trust.folds is None else cross_validate(job, _fit(prepared, of_folds, given), trust.folds)
            fitted = _fit(prepared, prepared.stages, given)(job)
            if not ranks.is_first():
                return
            save(fitted.model, fitted.tokenizer, partial.result)
            if fitted.centroids is not None:
                (partial.result / SCOPE).write_bytes(write_centroids(fitted.centroids))
            metrics, logits = evaluate(partial.result, fitted, job, setup)
            examined = examine(trust, job, fitted, logits, folds)
            seconds = time.perf_counter() - prepared.begun
            write_record(partial.result, setup, metrics, fitted, examined, [*prepared.remarks, *unseen], seconds)
            # Around stages what was left open stays open: they fit several times, on other rows each.
            repeated = replace(prepared, options=given) if prepared.stages else prepared
            write_recipe(partial.result / NAME, recipe_of(repeated, precision))
            if config.report:
                write_report(partial.result, job, fitted, logits)
            partial.publish(prepared.output, overwrite=config.overwrite)
        except KeyboardInterrupt:
            note(_interrupted(partial))
            raise
    for name, scores in metrics.items():
        say(f"{config.output}: {name} {figures(scores, examined.intervals.get(name))}")


def _job(
    prepared: Prepared,
    model: "Classifier",
    tokenizer: "PreTrainedTokenizerBase",
    precision: Precision,
    report: Report | None,
) -> Job:
    config, data = prepared.config, prepared.data
    splits = {"train": data.train, "dev": data.dev}
    return Job(
        data=data,
        model=model,
        tokenizer=tokenizer,
        tokens={name: tokenize(model, tokenizer, split, data.targets[name]) for name, split in splits.items()},
        precision=precision,
        tf32=config.tf32,
        compile=config.compile,
        seed=config.seed,
        base=prepared.base,
        epochs=prepared.partial.epochs,
        logs=prepared.partial.result / "logs",
        report=report,
    )


def _scale(job: Job) -> Scale:
    lengths = job.tokens["train"].lengths
    return Scale(
        rows=len(lengths),
        labels=len(job.data.labels),
        width=job.model.config.hidden_size,
        length=sum(lengths) / len(lengths),
    )


def _fit(prepared: Prepared, stages: dict[str, Stage[Any]], given: MethodOptions) -> Fit:
    """Return the method with stages around it; what `given` leaves open is chosen by the rows that each fit learns."""
    method, recorded = METHODS[prepared.config.method], prepared.options.model_dump()

    def fit(job: Job) -> Fitted:
        options = given.suited(_scale(job))
        fitted = method.fit(job, options)
        others = {name: value for name, value in options.model_dump().items() if value != recorded[name]}
        return replace(fitted, chosen=fitted.chosen | others)

    return staged(fit, stages)


def _pretrained(prepared: Prepared) -> "tuple[Classifier, PreTrainedTokenizerBase, PoolingRecord | None]":
    """Load the base checkpoint with a new head, and return what that reads.

    Raises:
        UserError: the base cannot be trained on these rows.
    """
    base, data, config = prepared.base, prepared.data, prepared.config
    require_trainable(base, data.task)
    tokenizer = load_tokenizer(base, data.task, config.truncation_side)
    named = (base, data.task, data.labels)
    pooling = first_pooling(config, data.task)
    model: Classifier = load_model(*named) if pooling is None else load_encoder(*named, pooling)
    if config.chunks > 1:
        setattr(model.config, KEY, Chunks(config.chunks, config.chunk_overlap).field())
    start_at_prior(model, data.task, data.targets["train"])
    require_tables(base, model, len(tokenizer), config.max_length)
    tokenizer.model_max_length = config.max_length
    require_answers(base, model, tokenizer)
    return model, tokenizer, settle_pooling(model, tokenizer, data, config)


def _interrupted(partial: Partial) -> str:
    if not partial.has_epoch():
        return "interrupted before anything was saved: there is nothing to go on from; start over with --overwrite"
    return f"interrupted; repeat the command with --resume to go on from what was saved in {partial.path}"


def _setup(prepared: Prepared, precision: Precision, pooling: PoolingRecord | None) -> Setup:
    config, data = prepared.config, prepared.data
    arithmetic = {"tf32": config.tf32, "compile": config.compile, "precision": precision}
    splits = {
        name: SplitRecord(source=split.source, rows=len(split), sha256=split.sha256())
        for name, split in data.splits().items()
    }
    return Setup(
        task=data.task,
        text_pairs=data.train.text_pairs,
        labels=data.labels,
        max_length=config.max_length,
        chunks=config.chunks,
        chunk_overlap=config.chunk_overlap if config.chunks > 1 else 0,
        truncation_side=config.truncation_side,
        base_model=prepared.base.name,
        method=config.method,
        pooling=pooling,
        recipe=prepared.options.recorded() | arithmetic,
        stages={name: stage.recorded() for name, stage in prepared.stages.items()},
        processes=ranks.count(),
        seed=config.seed,
        data=splits,
    )


def _weight_bytes(model: "Classifier") -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in model.parameters())


def _prediction_bytes(data: Data) -> int:
    """Return about how many bytes the rows of dev and test take as JSON, with some 20 digits a logit."""
    rows = sum(len(json.dumps(each).encode()) for split in data.held_out().values() for each in split.inputs)
    return rows + 20 * len(data.labels) * sum(len(data.targets[name]) for name in data.held_out())
