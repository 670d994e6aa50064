"""Checkpoints that `bertwire train` has written."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from bertwire_core.errors import UserError, first_line
from bertwire_core.files import unicode_name
from bertwire_core.lfs import require_fetched
from bertwire_trainer.record import RECORD, Setup, TrainingRecord

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from bertwire_core.pooled import Classifier

_WEIGHTS = "model.safetensors"
_FILES = (RECORD, "config.json", _WEIGHTS, "tokenizer.json")


def read_record(checkpoint: Path) -> TrainingRecord:
    """Read a checkpoint's training.json; raise `UserError` where the folder is no checkpoint of `bertwire train`."""
    if not checkpoint.is_dir():
        raise UserError(f"{checkpoint}: no such checkpoint; bertwire train writes one")
    if absent := next((name for name in _FILES if not (checkpoint / name).is_file()), None):
        raise UserError(f"{checkpoint} has no {absent}; it is not a checkpoint written by bertwire train")
    require_fetched(*(checkpoint / name for name in _FILES))
    try:
        return TrainingRecord.model_validate_json((checkpoint / RECORD).read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(f"{checkpoint / 'training.json'} is wrong at {where}: {first['msg']}") from None


def fingerprint(checkpoint: Path) -> dict[str, Any]:
    """Return the folder's name and the SHA-256 of its weights."""
    with (checkpoint / _WEIGHTS).open("rb") as file:
        return {"source": unicode_name(checkpoint), "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def load_trained(checkpoint: Path, setup: Setup) -> "tuple[Classifier, PreTrainedTokenizerBase]":
    """Load a checkpoint's model, in float32 on the GPU where there is one, and its tokenizer, which cuts as it did.

    Args:
        checkpoint: the folder, with or without training.json.
        setup: what it was trained as: its training.json, where it has one.

    Raises:
        UserError: a file is damaged.
    """
    import torch
    from transformers import AutoTokenizer

    from bertwire_core.pooled import load_pooled
    from bertwire_trainer.loading import model_class

    try:
        model: Classifier = load_pooled(checkpoint) or model_class(setup.task).from_pretrained(
            checkpoint, local_files_only=True, trust_remote_code=False, use_safetensors=True, dtype=torch.float32
        )
        tokenizer = AutoTokenizer.from_pretrained(checkpoint, local_files_only=True, trust_remote_code=False)
    except UserError:
        raise
    except Exception as error:  # safetensors, transformers, tokenizers and torch each raise their own
        raise UserError(f"{checkpoint} cannot be loaded: {first_line(error)}") from error
    tokenizer.model_max_length, tokenizer.truncation_side = setup.max_length, setup.truncation_side
    return model.to("cuda" if torch.cuda.is_available() else "cpu"), tokenizer  # type: ignore[arg-type]
