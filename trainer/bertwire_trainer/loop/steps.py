"""Transformers' Trainer with the steps and the evaluation of this loop."""
# ruff: noqa: ANN401 - Trainer's own signatures

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from accelerate.data_loader import prepare_data_loader
from torch.nn import Parameter
from torch.utils.data import DataLoader
from transformers import Trainer, TrainerCallback

from bertwire_data.labelled import MAIN_METRIC
from bertwire_trainer import ranks
from bertwire_trainer.loop.adversary import Adversary
from bertwire_trainer.loop.arguments import CHOICE, training_arguments
from bertwire_trainer.loop.averages import LastEpochs
from bertwire_trainer.loop.batches import TokenBatches
from bertwire_trainer.loop.dev import choice, measure_dev
from bertwire_trainer.loop.divergence import Divergence
from bertwire_trainer.loop.encoder import encoder
from bertwire_trainer.loop.loss import Loss, balanced_weights, make_loss
from bertwire_trainer.loop.memory import Parts
from bertwire_trainer.loop.options import LoopOptions
from bertwire_trainer.method import Job
from bertwire_trainer.predict import collator
from bertwire_trainer.scores import NotFiniteError

Rates = Mapping[Parameter, float]


class EpochTrainer(Trainer):
    """Trainer of one job, with dev measured after every epoch.

    Trainer's own evaluation pads every answer to the longest text, and loses the texts' order.
    """

    def __init__(self, job: Job, options: LoopOptions, rates: Rates, callbacks: Sequence[TrainerCallback]) -> None:
        """Train as `options` say; `rates` has the factor of the learning rate of weights for which it is not 1."""
        self._job, self._options, self._rates = job, options, rates
        self.divergence, self._parts = Divergence(), Parts()
        # The optimizer step whose batches `_parts` has.
        self._begun = -1
        self.last_epochs = LastEpochs(job.epochs, options.average_epochs)
        self._adversary = Adversary(encoder(job.model).get_input_embeddings(), options.fgm) if options.fgm else None
        super().__init__(
            model=job.model,
            args=training_arguments(job, options),
            data_collator=collator(job.tokenizer, job.tokens["train"]),
            train_dataset=job.tokens["train"],
            eval_dataset=job.tokens["dev"],
            compute_loss_func=_loss(job, options),
            callbacks=[self.divergence, *callbacks],
        )

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """Create AdamW, its groups of weights parted by learning rate."""
        optimizer = super().create_optimizer(model)
        optimizer.param_groups = [part for group in optimizer.param_groups for part in _by_rate(group, self._rates)]
        return optimizer

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Return the batches of train, planned for all epochs."""
        options, tokens = self._options, self._job.tokens["train"]
        batches = TokenBatches(
            tokens.lengths,
            options.batch_size,
            budget=options.batch_tokens,
            epochs=options.epochs,
            seed=self._job.seed,
            processes=ranks.count(),
            process=ranks.rank(),
        )
        loader = DataLoader(
            tokens,
            batch_sampler=batches,
            collate_fn=self.data_collator,
            num_workers=self.args.dataloader_num_workers,
            persistent_workers=self.args.dataloader_num_workers > 0,
            pin_memory=self.args.dataloader_pin_memory,
        )
        # The batches are of this process already: accelerate shares out those of its own samplers alone.
        prepared: DataLoader[Any] = prepare_data_loader(
            loader, self.accelerator.device, num_processes=1, process_index=0, put_on_device=True
        )
        return prepared

    def training_step(self, model: torch.nn.Module, inputs: dict[str, Any], *items: Any) -> torch.Tensor:
        """Add the gradients of a batch to those of the step, and return its loss."""
        if self._begun != self.state.global_step:
            self._begun = self.state.global_step
            self._parts.begin()
        loss = self._parts.run(lambda part: self._pass(model, part, *items), inputs, model.zero_grad)
        self.divergence.add(self.accelerator.reduce(loss.detach(), "mean").item())
        return loss

    def _pass(self, model: torch.nn.Module, inputs: dict[str, Any], *items: Any) -> torch.Tensor:
        """Add the gradients of texts, and of their adversarial twins, and return the loss of the first."""
        if self._adversary is None:
            return super().training_step(model, inputs, *items)
        with self._adversary.watching():
            loss = super().training_step(model, inputs, *items)
        with self._adversary.attacking():
            super().training_step(model, inputs, *items)
        return loss

    def compute_loss(self, model: torch.nn.Module, inputs: dict[str, Any], *rest: Any, **named: Any) -> Any:
        """Return the loss of a batch, which goes through dropout twice for R-Drop."""
        if self._options.r_drop:
            inputs = {name: torch.cat([each, each]) for name, each in inputs.items()}
        return super().compute_loss(model, inputs, *rest, **named)

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Measure dev, print the report and call the callbacks; Trainer calls it at the end of each epoch."""
        epoch, model = round(self.state.epoch or 0), self._job.model
        try:
            measured = measure_dev(self._job, model, f"epoch {epoch}", with_report=True)
        except NotFiniteError:
            self.divergence.found(f"the answers after epoch {epoch} are not finite", self.control)
            return {f"eval_{CHOICE}": -math.inf}
        if self._options.average_epochs > 1:
            self.last_epochs.keep(epoch, model)
        metrics = {f"eval_{name}": value for name, value in measured.items()}
        self.log(metrics)
        metrics[f"eval_{CHOICE}"] = choice(self._job, measured)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        if self._job.report:
            self._job.report(epoch, measured[MAIN_METRIC[self._job.data.task]])
        return metrics

    def evaluated(self) -> dict[int, int]:
        """Return the optimizer step after each epoch that dev was measured after."""
        return {round(entry["epoch"]): int(entry["step"]) for entry in self.state.log_history if "eval_loss" in entry}


def _loss(job: Job, options: LoopOptions) -> Loss:
    balanced = options.class_weights == "balanced"
    weights = balanced_weights(job.data.targets["train"], len(job.data.labels)) if balanced else None
    return make_loss(job.data.task, weights, options.label_smoothing, options.r_drop)


def _by_rate(group: dict[str, Any], rates: Rates) -> list[dict[str, Any]]:
    parts: dict[float, list[Parameter]] = defaultdict(list)
    for weight in group["params"]:
        parts[rates.get(weight, 1.0)].append(weight)
    return [group | {"params": weights, "lr": group["lr"] * rate} for rate, weights in parts.items()]
