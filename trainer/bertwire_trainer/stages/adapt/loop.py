"""The loop over texts without labels: transformers' Trainer, with the state saved after every epoch."""

from math import ceil
from typing import Any

from torch.utils.tensorboard import SummaryWriter
from transformers import PrinterCallback, Trainer, TrainingArguments

from bertwire_core.errors import UserError
from bertwire_trainer.epochs import last_whole
from bertwire_trainer.loop.arguments import common_arguments
from bertwire_trainer.loop.curves import Curves
from bertwire_trainer.loop.progress import EpochBars
from bertwire_trainer.method import Job
from bertwire_trainer.stages.adapt.objective import Objective, choose_objective
from bertwire_trainer.stages.adapt.options import AdaptOptions
from bertwire_trainer.stages.adapt.pieces import Pieces


def adapt_encoder(job: Job, options: AdaptOptions, texts: list[str]) -> dict[str, Any]:
    """Train the encoder of `job.model` in place on texts; go on from the last whole epoch of an interrupted run.

    Returns:
        The objective, the number of pieces of text, and the last loss.

    Raises:
        UserError: the base cannot be adapted, or training diverges.
    """
    pieces = Pieces(job.tokenizer, texts)
    if len(pieces) < 2:
        raise UserError("--adapt: the tokenizer leaves nothing of the texts; choose another --model or other texts")
    objective = choose_objective(job)
    loss = _train(job, options, objective, pieces)
    _take_over(job, objective)
    return {"objective": objective.name, "pieces": len(pieces), "loss": loss}


def _train(job: Job, options: AdaptOptions, objective: Objective, pieces: Pieces) -> float:
    folder = job.epochs / "adapt"
    arguments = TrainingArguments(
        **common_arguments(job),
        output_dir=str(folder),
        num_train_epochs=options.adapt_epochs,
        per_device_train_batch_size=options.adapt_batch_size,
        learning_rate=options.adapt_learning_rate,
        warmup_steps=0.1,
        weight_decay=0.01,
        save_total_limit=1,
        # Few steps show their loss as well.
        logging_steps=min(10, ceil(len(pieces) / options.adapt_batch_size / 10)),
    )
    resume_from = last_whole(folder)
    with EpochBars(options.adapt_epochs, "adapt epoch") as bars, SummaryWriter(str(job.logs / "adapt")) as writer:
        trainer = Trainer(
            model=objective.model,
            args=arguments,
            data_collator=objective.collate,
            train_dataset=pieces,
            compute_loss_func=objective.loss,
            callbacks=[bars, Curves(writer)],  # type: ignore[no-untyped-call]
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train(resume_from_checkpoint=str(resume_from) if resume_from else None)
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return float(losses[-1])


def _take_over(job: Job, objective: Objective) -> None:
    """Copy the weights of the objective's encoder to the job's, and that back to the CPU."""
    encoder = job.model.base_model
    if any(not weight.isfinite().all() for weight in objective.encoder.parameters()):
        raise UserError("--adapt diverged: weights are not finite; lower --adapt-learning-rate or use fp32")
    absent, unknown = encoder.load_state_dict(objective.encoder.state_dict(), strict=False)
    # Only the pooler may be the classifier's alone.
    if unknown or any("pooler" not in name for name in absent):
        raise UserError(f"--adapt: {job.base.name} has another encoder under its masked-language-modelling head")
    job.model.to("cpu")  # type: ignore[arg-type]  # transformers' decorator hides the signature
