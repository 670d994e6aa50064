"""Turns the settings into transformers' training arguments and loss."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy
import torch
from transformers import TrainingArguments
from transformers.modeling_outputs import SequenceClassifierOutput

from bertwire_client.errors import UserError
from bertwire_trainer.config import Precision, TrainConfig
from bertwire_trainer.scores import Ints

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
        metric_for_best_model="macro_f1",
        greater_is_better=True,
        restore_callback_states_from_checkpoint=True,
        logging_steps=10,
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=cuda,
    )


def balanced_weights(label_ids: Ints, labels: int) -> torch.Tensor:
    """scikit-learn's balanced class weights, float32 [labels]: rows / (labels * rows of the label)."""
    from sklearn.utils.class_weight import compute_class_weight

    weights = compute_class_weight("balanced", classes=numpy.arange(labels), y=label_ids)
    return torch.tensor(weights, dtype=torch.float32)


def make_loss(weights: torch.Tensor | None, smoothing: float) -> Loss:
    """Cross-entropy with class weights and label smoothing, averaged over all texts of an optimizer step."""

    def loss(
        outputs: SequenceClassifierOutput, label_ids: torch.Tensor, num_items_in_batch: torch.Tensor | None = None
    ) -> torch.Tensor:
        logits = outputs["logits"].float()
        weight = None if weights is None else weights.to(logits.device)
        total = torch.nn.functional.cross_entropy(
            logits, label_ids, weight=weight, label_smoothing=smoothing, reduction="sum"
        )
        return total / (len(label_ids) if num_items_in_batch is None else num_items_in_batch)

    return loss
