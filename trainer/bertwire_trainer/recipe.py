"""Turns the settings into transformers' training arguments and loss."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy
import torch
from numpy.typing import NDArray
from transformers import TrainingArguments

from bertwire_core.errors import UserError
from bertwire_core.tasks import Task
from bertwire_trainer.config import Precision, TrainConfig
from bertwire_trainer.tokens import IGNORED

_RECIPE = {
    "epochs",
    "patience",
    "batch_size",
    "gradient_accumulation",
    "learning_rate",
    "warmup_ratio",
    "weight_decay",
    "label_smoothing",
    "class_weights",
    "tf32",
    "compile",
}

# What evaluation calls the figure that tells the best epoch.
CHOICE = "choice"
Loss = Callable[..., torch.Tensor]


def recipe(config: TrainConfig, precision: str) -> dict[str, Any]:
    """The settings of the training loop that shape the result, as recorded."""
    fixed = {"optimizer": "adamw", "schedule": "linear", "max_grad_norm": 1.0, "batches": "by length"}
    return config.model_dump(include=_RECIPE) | {"precision": precision} | fixed


def choose_precision(asked: Precision, *, cuda: bool, fast_bf16: bool) -> Literal["fp32", "bf16", "fp16"]:
    """The arithmetic to use; raises `UserError` for one that the device lacks.

    Args:
        asked: the setting.
        cuda: whether training runs on a CUDA device, else on the CPU.
        fast_bf16: whether that device multiplies bf16 matrices in hardware.
    """
    if asked == "auto":
        return "bf16" if fast_bf16 else "fp32"
    if asked == "fp16" and not cuda:
        raise UserError("--precision fp16 needs a CUDA device; on a CPU choose fp32 or bf16")
    if asked == "bf16" and cuda and not fast_bf16:
        raise UserError("--precision bf16 needs a CUDA device of compute capability 8.0 or later; choose fp16 or fp32")
    return asked


def training_arguments(config: TrainConfig, precision: str, folder: Path) -> TrainingArguments:
    """Arguments for a run whose own checkpoints go into `folder`."""
    cuda = torch.cuda.is_available()
    tf32 = config.tf32 if cuda and torch.cuda.get_device_capability()[0] >= 8 else None
    return TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=config.epochs,
        per_device_train_batch_size=config.batch_size,
        # Without gradients a larger batch fits in the same memory.
        per_device_eval_batch_size=max(config.batch_size, 64),
        gradient_accumulation_steps=config.gradient_accumulation,
        train_sampling_strategy="group_by_length",
        # Fused is a quarter of the time of the plain one, also on a CPU: 18 ms a step for MiniLM, not 83.
        optim="adamw_torch_fused",
        learning_rate=config.learning_rate,
        lr_scheduler_type="linear",
        # Below 1 it is a share of all steps.
        warmup_steps=config.warmup_ratio,
        weight_decay=config.weight_decay,
        max_grad_norm=1.0,
        bf16=precision == "bf16",
        fp16=precision == "fp16",
        tf32=tf32,
        torch_compile=config.compile,
        use_cpu=not cuda,
        seed=config.seed,
        eval_strategy="epoch",
        save_strategy="epoch",
        # The last two, so that there is a whole one while the newest is being written; the best is always kept.
        save_total_limit=2,
        load_best_model_at_end=True,
        metric_for_best_model=CHOICE,
        greater_is_better=True,
        restore_callback_states_from_checkpoint=True,
        logging_steps=10,
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=cuda,
    )


def balanced_weights(label_ids: NDArray[Any], labels: int) -> torch.Tensor:
    """scikit-learn's balanced class weights, float32 [labels]: rows / (labels * rows of the label)."""
    from sklearn.utils.class_weight import compute_class_weight

    weights = compute_class_weight("balanced", classes=numpy.arange(labels), y=label_ids)
    return torch.tensor(weights, dtype=torch.float32)


def make_loss(task: Task, weights: torch.Tensor | None, smoothing: float) -> Loss:
    """The loss of a task, averaged over everything that an optimizer step learns.

    Cross-entropy over texts, or over words, with class weights and label smoothing; binary cross-entropy over texts and
    labels for multi_label; the squared error for regression.
    """
    functional = torch.nn.functional

    def total(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        if task == "multi_label":
            return functional.binary_cross_entropy_with_logits(logits, targets.float(), reduction="sum")
        if task == "regression":
            return functional.mse_loss(logits.view(-1), targets.float().view(-1), reduction="sum")
        weight = None if weights is None else weights.to(logits.device)
        return functional.cross_entropy(
            logits.flatten(0, -2),
            targets.flatten(),
            weight=weight,
            ignore_index=IGNORED,
            label_smoothing=smoothing,
            reduction="sum",
        )

    def loss(
        outputs: Mapping[str, torch.Tensor], targets: torch.Tensor, num_items_in_batch: torch.Tensor | None = None
    ) -> torch.Tensor:
        # Trainer counts what is not ignored over the batches of a step: texts, texts x labels, or words.
        items = targets.ne(IGNORED).sum().clamp(min=1) if num_items_in_batch is None else num_items_in_batch
        return total(outputs["logits"].float(), targets) / items

    return loss
