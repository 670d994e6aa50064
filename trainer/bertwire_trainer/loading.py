"""Loads the tokenizer and the model of a base checkpoint, safetensors only and without its code."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from bertwire_client.errors import UserError
from bertwire_trainer.base import Base

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def load_tokenizer(base: Base, truncation_side: str) -> "PreTrainedTokenizerBase":
    """Loads the fast tokenizer; raises `UserError` where the checkpoint is no text encoder or has none."""
    from transformers import AutoConfig, AutoTokenizer

    options = {"local_files_only": base.local, "trust_remote_code": False}
    with _one_line(base):
        _require_encoder(base, AutoConfig.from_pretrained(base.location, **options))
        tokenizer = AutoTokenizer.from_pretrained(
            base.location, truncation_side=truncation_side, padding_side="right", **options
        )
    if not tokenizer.is_fast or tokenizer.pad_token is None or len(tokenizer) <= len(tokenizer.all_special_ids):
        raise UserError(f"--model {base.name} has no fast tokenizer with a padding token; it needs a tokenizer.json")
    return tokenizer


def _require_encoder(base: Base, config: Any) -> None:  # noqa: ANN401 - a configuration class of any architecture
    from transformers import MODEL_FOR_MASKED_LM_MAPPING, MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING

    # Encoders of text are the architectures that have both heads; decoders and vision models lack the masked one.
    known = all(
        type(config) in heads for heads in (MODEL_FOR_MASKED_LM_MAPPING, MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING)
    )
    if not known or config.is_encoder_decoder or getattr(config, "is_decoder", False):
        raise UserError(
            f"--model {base.name} is no text encoder but {config.model_type!r}; choose a BERT-family checkpoint"
        )


def load_model(base: Base, labels: list[str]) -> "PreTrainedModel":
    """Loads the encoder in float32 with a new classification head for `labels`.

    A head of the same shape that the checkpoint brings is kept.

    Raises:
        UserError: the weights are missing, unsafe, damaged or of another model.
    """
    import torch
    from transformers import AutoModelForSequenceClassification

    with _one_line(base):
        model, report = AutoModelForSequenceClassification.from_pretrained(
            base.location,
            id2label=dict(enumerate(labels)),
            label2id={label: index for index, label in enumerate(labels)},
            problem_type="single_label_classification",
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=base.local,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    _require_weights(base, model, report)
    model.config.name_or_path = base.name
    return model  # type: ignore[no-any-return]


def _require_weights(base: Base, model: "PreTrainedModel", report: dict[str, Any]) -> None:
    prefix = model.base_model_prefix + "."
    absent = {*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])}
    # The pooler belongs to the head: some pre-trainings have none.
    broken = sorted(key for key in absent if key.startswith(prefix) and ".pooler." not in key)
    if broken:
        raise UserError(
            f"--model {base.name}: its weights lack {len(broken)} tensors of the encoder, the first {broken[0]}; "
            "the file is damaged or of another model"
        )


@contextmanager
def _one_line(base: Base) -> Iterator[None]:
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError) as error:
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise UserError(f"--model {base.name} cannot be loaded: {reason.strip()}") from error


def require_tables(base: Base, model: "PreTrainedModel", vocabulary: int, max_length: int) -> None:
    """Raises `UserError` where the model's tables are too small for `max_length` tokens or the tokenizer's ids."""
    limit = position_limit(model)
    if limit is not None and max_length > limit:
        raise UserError(f"--max-length {max_length} is more than the {limit} positions of {base.name}; lower it")
    if vocabulary > model.config.vocab_size:
        raise UserError(
            f"--model {base.name}: its tokenizer has more tokens than the model; they are of two checkpoints"
        )


def position_limit(model: "PreTrainedModel") -> int | None:
    """Tokens that the position table has rows for; None for models with relative positions only."""
    table = getattr(getattr(model.base_model, "embeddings", None), "position_embeddings", None)
    if table is None:
        return getattr(model.config, "max_position_embeddings", None)
    # RoBERTa's kind counts positions from the row after the padding row.
    unused = 0 if table.padding_idx is None else table.padding_idx + 1
    return int(table.num_embeddings) - unused
