"""The arguments of transformers' Trainer."""

from typing import Any

import torch
from transformers import TrainingArguments

from bertwire_trainer.loop.options import LoopOptions
from bertwire_trainer.method import Job

# The evaluation figure by which Trainer chooses the best epoch.
CHOICE = "choice"
# Processes that make batches beside a GPU. Halved, a fast GPU waits for them; on a CPU they would take cores from it.
_WORKERS = 2


def training_arguments(job: Job, options: LoopOptions) -> TrainingArguments:
    """Return the arguments of a run that evaluates and saves after every epoch."""
    arguments = TrainingArguments(
        **common_arguments(job),
        output_dir=str(job.epochs),
        num_train_epochs=options.epochs,
        per_device_train_batch_size=options.batch_size,
        # Without gradients a larger batch fits in the same memory.
        per_device_eval_batch_size=max(options.batch_size, 64),
        gradient_accumulation_steps=options.gradient_accumulation,
        learning_rate=options.learning_rate,
        # Below 1 it is a share of all steps.
        warmup_steps=options.warmup_ratio,
        weight_decay=options.weight_decay,
        eval_strategy="epoch",
        # The last two, so that one is whole while the newest is being written; the best is always kept.
        save_total_limit=2,
        load_best_model_at_end=True,
        metric_for_best_model=CHOICE,
        greater_is_better=True,
        # The rows have what the model reads and the labels, which a pooled classifier's forward does not name.
        remove_unused_columns=False,
        logging_steps=10,
        dataloader_num_workers=_WORKERS if torch.cuda.is_available() else 0,
    )
    return on_one_device(arguments)


def on_one_device(arguments: TrainingArguments) -> TrainingArguments:
    """Return the arguments with one GPU for this process: several would share a batch in threads (`DataParallel`).

    Losses that compare texts, and hooks into the forward pass, need the whole batch in one place.
    """
    arguments._n_gpu = min(arguments.n_gpu, 1)
    return arguments


def common_arguments(job: Job) -> dict[str, Any]:
    """Return the arguments of every training of a run: AdamW with a linear schedule, saved after every epoch."""
    cuda = torch.cuda.is_available()
    return {
        "train_sampling_strategy": "group_by_length",
        # Fused is a quarter of the time of the plain one, also on a CPU: 18 ms a step for MiniLM, not 83.
        "optim": "adamw_torch_fused",
        "lr_scheduler_type": "linear",
        "max_grad_norm": 1.0,
        "bf16": job.precision == "bf16",
        "fp16": job.precision == "fp16",
        "tf32": job.tf32 if cuda and torch.cuda.get_device_capability()[0] >= 8 else None,
        "torch_compile": job.compile,
        "use_cpu": not cuda,
        "seed": job.seed,
        "save_strategy": "epoch",
        "restore_callback_states_from_checkpoint": True,
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_pin_memory": cuda,
    }
