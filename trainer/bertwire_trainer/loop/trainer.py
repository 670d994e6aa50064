"""The loop over epochs: dev evaluated, and the state saved, after every epoch; then the weights to keep."""

from collections.abc import Sequence
from contextlib import ExitStack

import torch
from torch.utils.tensorboard import SummaryWriter
from transformers import EarlyStoppingCallback, PrinterCallback, TrainerCallback

from bertwire_core.errors import UserError
from bertwire_data.labelled import MAIN_METRIC
from bertwire_trainer import ranks
from bertwire_trainer.epochs import epochs_run, last_whole
from bertwire_trainer.loop.curves import Curves
from bertwire_trainer.loop.dropout import require_dropout, set_dropout
from bertwire_trainer.loop.encoder import encoder
from bertwire_trainer.loop.kept import Kept, better
from bertwire_trainer.loop.options import LoopOptions
from bertwire_trainer.loop.progress import EpochBars
from bertwire_trainer.loop.saves import StepSaves
from bertwire_trainer.loop.soup import train_seeds
from bertwire_trainer.loop.steps import EpochTrainer, Rates
from bertwire_trainer.messages import metric_name, note
from bertwire_trainer.method import Fitted, Job

_REMEDY = "lower --learning-rate, or use --precision fp32"


def run_epochs(
    job: Job, options: LoopOptions, rates: Rates | None = None, callbacks: Sequence[TrainerCallback] = ()
) -> Fitted:
    """Train the weights of `job.model` that need a gradient, until `patience` epochs are no better on dev.

    Print the report on dev after each epoch.

    Args:
        job: the input of the method.
        options: the options of the loop.
        rates: factors of the learning rate by weight; 1 for those that it lacks.
        callbacks: what else Trainer calls.

    Returns:
        The model in place, with the weights that are best on dev and without what Trainer wraps around it.
    """
    if options.dropout is not None:
        set_dropout(job.model, options.dropout)
    if options.r_drop:
        require_dropout(job.model)
    if options.gradient_checkpointing:
        encoder(job.model).gradient_checkpointing_enable()

    def train(one: Job) -> Kept:
        return _train(one, options, rates or {}, callbacks)

    kept = train(job) if options.seeds == 1 else train_seeds(job, options.seeds, train)
    note(f"kept {kept.weights}")
    return Fitted(job.model, job.tokenizer, kept.epoch, kept.weights)


def _train(job: Job, options: LoopOptions, rates: Rates, callbacks: Sequence[TrainerCallback]) -> Kept:
    with ExitStack() as opened:
        own: list[TrainerCallback] = [
            opened.enter_context(EpochBars(options.epochs)),
            EarlyStoppingCallback(options.patience),
        ]
        if ranks.is_first():
            writer = opened.enter_context(SummaryWriter(str(job.logs)))
            own.append(Curves(writer))  # type: ignore[no-untyped-call]
        if options.save_steps:
            own.append(StepSaves(options.save_steps))
        trainer = EpochTrainer(job, options, rates, [*own, *callbacks])
        trainer.remove_callback(PrinterCallback)
        resume_from = last_whole(job.epochs)
        if resume_from and (stopped := epochs_run(resume_from, options.patience)):
            trainer.args.num_train_epochs = stopped
        try:
            trainer.train(resume_from_checkpoint=str(resume_from) if resume_from else None)
        except torch.OutOfMemoryError as error:  # not of a batch: of AdamW's moments, or of dev
            raise UserError(
                "out of GPU memory; choose a smaller --model, lower --max-length or --batch-size"
            ) from error
    if not (evaluated := trainer.evaluated()):
        raise UserError(f"training diverged in the first epoch: {trainer.divergence.reason}; {_REMEDY}")
    last = max(evaluated)
    best = next(epoch for epoch, step in evaluated.items() if step == trainer.state.best_global_step)
    if trainer.divergence.reason:
        note(f"stopped: training diverged, {trainer.divergence.reason}; {_REMEDY}")
    elif last < options.epochs:
        figure = f"dev {metric_name(MAIN_METRIC[job.data.task])}"
        note(f"stopped after epoch {last}: {figure} was no better for {options.patience} epochs in a row")
    assert trainer.state.best_metric is not None  # noqa: S101 - an epoch was evaluated
    kept = Kept(f"epoch {best}", best, trainer.state.best_metric)
    if len(epochs := trainer.last_epochs.epochs(last)) > 1:
        what = f"mean of epochs {epochs[0]} to {last}"
        kept = better(job, kept, trainer.last_epochs.mean(last), what, last)
    trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False, keep_torch_compile=False)
    return kept
