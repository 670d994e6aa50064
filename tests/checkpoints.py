"""What tests read of checkpoint folders."""

from pathlib import Path

import torch
from safetensors.torch import load_file

from bertwire_trainer.record import TrainingRecord


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """The tensors of a checkpoint by name."""
    return load_file(folder / "model.safetensors")


def record(folder: Path) -> TrainingRecord:
    """The training.json of a checkpoint."""
    return TrainingRecord.model_validate_json((folder / "training.json").read_bytes())
