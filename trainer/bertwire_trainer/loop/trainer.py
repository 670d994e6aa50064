"""The loop over epochs: transformers' Trainer with dev evaluated, and the state saved, after every epoch."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torch.utils.tensorboard import SummaryWriter
from transformers import EarlyStoppingCallback, PrinterCallback, Trainer

from bertwire_data.labelled import MAIN_METRIC
from bertwire_trainer.epochs import epochs_run, last_whole
from bertwire_trainer.loop.arguments import CHOICE, training_arguments
from bertwire_trainer.loop.curves import Curves
from bertwire_trainer.loop.loss import Loss, balanced_weights, make_loss
from bertwire_trainer.loop.options import LoopOptions
from bertwire_trainer.loop.progress import EpochBars
from bertwire_trainer.messages import figures, metric_name, note, say
from bertwire_trainer.method import Fitted, Job
from bertwire_trainer.predict import collator, predict
from bertwire_trainer.scores import measure, report

if TYPE_CHECKING:
    from bertwire_core.pooled import Classifier

# Weight of the loss beside the score, per unit of loss. It must be smaller than what one text of any dev set changes
# the score by, and large enough for float64 to tell scores of the same value apart.
_TIE = 1e-9


class _Trainer(Trainer):
    """Trainer with another evaluation: its own pads every answer to the longest text, and loses the texts' order."""

    measure_dev: Callable[[], dict[str, float]]
    metric: str

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:  # noqa: ANN401 - Trainer's arguments, unused
        """Measure dev and call the callbacks; Trainer calls it at the end of each epoch."""
        measured = self.measure_dev()
        metrics = {f"eval_{name}": value for name, value in measured.items()}
        self.log(metrics)
        metrics[f"eval_{CHOICE}"] = measured[self.metric] - _TIE * measured["loss"]
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics


def run_epochs(job: Job, options: LoopOptions) -> Fitted:
    """Train the weights of `job.model` that need a gradient, until `patience` epochs are no better on dev.

    Of epochs with the same score the one with the lower loss is better: on few texts all may be right, or the score
    the same as by chance, from the first epoch on. Print the report on dev after each epoch.

    Returns:
        The model in place, with the weights of the best epoch and without what Trainer wraps around it.
    """
    arguments, metric = training_arguments(job, options), MAIN_METRIC[job.data.task]
    resume_from = last_whole(job.epochs)
    if resume_from and (stopped := epochs_run(resume_from, options.patience)):
        arguments.num_train_epochs = stopped
    with EpochBars(options.epochs) as bars, SummaryWriter(str(job.logs)) as writer:
        trainer = _Trainer(
            model=job.model,
            args=arguments,
            data_collator=collator(job.tokenizer, job.tokens["train"]),
            train_dataset=job.tokens["train"],
            eval_dataset=job.tokens["dev"],
            compute_loss_func=_loss(job, options),
            callbacks=[bars, EarlyStoppingCallback(options.patience), Curves(writer)],  # type: ignore[no-untyped-call]
        )
        trainer.metric = metric
        trainer.measure_dev = lambda: _measure_dev(trainer, job)
        trainer.remove_callback(PrinterCallback)
        trainer.train(resume_from_checkpoint=str(resume_from) if resume_from else None)
    best, last = _best_epoch(trainer, metric), round(trainer.state.epoch or 0)
    if last < options.epochs:
        figure = f"dev {metric_name(metric)}"
        note(f"stopped after epoch {last}: {figure} was no better for {options.patience} epochs in a row")
    note(f"kept epoch {best}")
    model = trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False, keep_torch_compile=False)
    return Fitted(model, job.tokenizer, best)


def _loss(job: Job, options: LoopOptions) -> Loss:
    balanced = options.class_weights == "balanced"
    weights = balanced_weights(job.data.targets["train"], len(job.data.labels)) if balanced else None
    return make_loss(job.data.task, weights, options.label_smoothing)


def _measure_dev(trainer: Trainer, job: Job) -> dict[str, float]:
    model: Classifier = trainer.model  # type: ignore[assignment]  # the model that training was given
    logits = predict(model, job.tokenizer, job.tokens["dev"], job.data.labels, "dev")
    answers = (job.data.task, logits, job.tokens["dev"].targets, job.data.labels, job.data.dev.words())
    metrics = measure(*answers)
    say(f"epoch {round(trainer.state.epoch or 0)}: dev {figures(metrics)}\n{report(*answers)}")
    return metrics


def _best_epoch(trainer: Trainer, metric: str) -> int:
    step = trainer.state.best_global_step
    return next(
        round(entry["epoch"])
        for entry in trainer.state.log_history
        if entry["step"] == step and f"eval_{metric}" in entry
    )
