"""Meta-training: the loop over episodes by transformers' Trainer, with dev evaluated and the state saved in between."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch.utils.tensorboard import SummaryWriter
from transformers import (
    DataCollatorWithPadding,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from bertwire_core.pooled import PooledClassifier
from bertwire_trainer.epochs import last_whole
from bertwire_trainer.loop.arguments import CHOICE, common_arguments, on_one_device
from bertwire_trainer.loop.curves import Curves
from bertwire_trainer.loop.progress import EpochBars
from bertwire_trainer.messages import note
from bertwire_trainer.meta.dev import Dev
from bertwire_trainer.meta.episodes import Episodes
from bertwire_trainer.meta.loss import EpisodeLoss
from bertwire_trainer.method import Job

# Evaluations on dev. Halved, the best of fewer encoders is kept, and an interrupted run loses more episodes.
_EVALUATIONS = 10


def train_episodes(job: Job, model: PooledClassifier, episodes: Episodes, learning_rate: float) -> int:
    """Train the encoder in place; leave it as it was after the episode that is best on dev, and return its number.

    0 is the encoder before the first episode. Goes on from the last evaluation of an interrupted run.
    """
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    dev = Dev.of(job, model)
    at_first = dev.choice(0)
    before = {name: weight.cpu().clone() for name, weight in model.state_dict().items()}
    kept, best = _train(job, model, episodes, learning_rate, dev.choice)
    if best <= at_first:
        model.load_state_dict(before)
        kept = 0
    note(f"kept the encoder after episode {kept}" if kept else "kept the encoder as it was: no episode made it better")
    return kept


def _train(
    job: Job, model: PooledClassifier, episodes: Episodes, learning_rate: float, choice: Callable[[int], float]
) -> tuple[int, float]:
    """Train the encoder, leave it with its best weights, and return their episode and its figure."""
    collate = DataCollatorWithPadding(job.tokenizer)
    resume_from = last_whole(job.epochs)
    with EpochBars(1, "episodes") as bars, SummaryWriter(str(job.logs)) as writer:
        trainer = _MetaTrainer(
            model=EpisodeLoss(model),
            args=_arguments(job, len(episodes), learning_rate),
            # A batch is one episode.
            data_collator=lambda batch: collate(batch[0]),
            train_dataset=episodes,
            eval_dataset=job.tokens["dev"],
            callbacks=[bars, _AtTheEnd(), Curves(writer)],  # type: ignore[no-untyped-call]
        )
        trainer.choice = choice
        trainer.remove_callback(PrinterCallback)
        trainer.train(resume_from_checkpoint=str(resume_from) if resume_from else None)
    step, best = trainer.state.best_global_step, trainer.state.best_metric
    assert step is not None and best is not None  # noqa: S101, PT018 - the last episode was evaluated
    return step, best


def _arguments(job: Job, episodes: int, learning_rate: float) -> TrainingArguments:
    every = math.ceil(episodes / _EVALUATIONS)
    fixed = common_arguments(job) | {"train_sampling_strategy": "sequential", "save_strategy": "steps"}
    arguments = TrainingArguments(
        **fixed,
        output_dir=str(job.epochs),
        num_train_epochs=1,
        per_device_train_batch_size=1,
        learning_rate=learning_rate,
        warmup_steps=0.1,
        weight_decay=0.01,
        eval_strategy="steps",
        eval_steps=every,
        save_steps=every,
        save_total_limit=2,
        load_best_model_at_end=True,
        metric_for_best_model=CHOICE,
        greater_is_better=True,
        remove_unused_columns=False,
        logging_steps=10,
    )
    return on_one_device(arguments)


class _MetaTrainer(Trainer):
    """Trainer with another evaluation: its own has no prototypes."""

    choice: Callable[[int], float]

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:  # noqa: ANN401 - Trainer's arguments, unused
        """Measure dev and call the callbacks."""
        metrics = {f"eval_{CHOICE}": self.choice(self.state.global_step)}
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics


class _AtTheEnd(TrainerCallback):
    """Ask for an evaluation and a checkpoint after the last episode too."""

    def on_step_end(
        self,
        args: TrainingArguments,  # noqa: ARG002 - Trainer's arguments
        state: TrainerState,
        control: TrainerControl,
        **_: Any,  # noqa: ANN401
    ) -> None:
        """Set the flags of the last step."""
        if state.global_step == state.max_steps:
            control.should_evaluate = control.should_save = True
