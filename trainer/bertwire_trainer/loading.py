"""Loads the tokenizer and the model of a base checkpoint, safetensors only and without its code."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from bertwire_client.errors import UserError, first_line
from bertwire_client.labelled import Task
from bertwire_trainer.base import Base

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# Fields of config.json that make transformers run code of the checkpoint's where that is allowed. It never runs here,
# and whoever loads the result must not be asked to allow it.
_CODE = ("auto_map", "custom_pipelines")

_PROBLEMS: dict[Task, str | None] = {
    "single_label": "single_label_classification",
    "multi_label": "multi_label_classification",
    "token_classification": None,
    "regression": "regression",
}


def load_tokenizer(base: Base, task: Task, truncation_side: str) -> "PreTrainedTokenizerBase":
    """Loads the fast tokenizer; raises `UserError` where the checkpoint is no text encoder or has none."""
    from transformers import AutoConfig, AutoTokenizer

    options = {"local_files_only": base.local, "trust_remote_code": False}
    with _one_line(base):
        _require_encoder(base, task, AutoConfig.from_pretrained(base.location, **options))
        tokenizer = AutoTokenizer.from_pretrained(
            base.location, truncation_side=truncation_side, padding_side="right", **options
        )
    if not tokenizer.is_fast or tokenizer.pad_token is None or len(tokenizer) <= len(tokenizer.all_special_ids):
        raise UserError(f"--model {base.name} has no fast tokenizer with a padding token; it needs a tokenizer.json")
    if task == "token_classification" and _prefix_spaces(tokenizer.backend_tokenizer):
        tokenizer.init_kwargs["add_prefix_space"] = True
    return tokenizer


def _prefix_spaces(backend: Any) -> bool:  # noqa: ANN401 - the Rust tokenizer
    """Makes a byte-level tokenizer read every word as after a space, as in running text; says whether it is one."""
    from tokenizers.pre_tokenizers import ByteLevel, Sequence

    outer: Any = backend.pre_tokenizer
    steps: Any = outer if isinstance(outer, Sequence) else [outer]
    levels = [step for step in steps if isinstance(step, ByteLevel)]
    for level in levels:
        level.add_prefix_space = True
    backend.pre_tokenizer = outer
    return bool(levels)


def _require_encoder(base: Base, task: Task, config: Any) -> None:  # noqa: ANN401 - of any architecture
    from transformers import (
        MODEL_FOR_MASKED_LM_MAPPING,
        MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
        MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING,
    )

    by_word = task == "token_classification"
    heads = MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING if by_word else MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING
    # Encoders of text are the architectures that have both heads; decoders and vision models lack the masked one.
    known = type(config) in MODEL_FOR_MASKED_LM_MAPPING and type(config) in heads
    if not known or config.is_encoder_decoder or getattr(config, "is_decoder", False):
        raise UserError(
            f"--model {base.name} is no text encoder but {config.model_type!r}; choose a BERT-family checkpoint"
        )


def model_class(task: Task) -> Any:  # noqa: ANN401 - transformers' Auto classes have no common type
    """The Auto class of models with the head for a task."""
    from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification

    return AutoModelForTokenClassification if task == "token_classification" else AutoModelForSequenceClassification


def load_model(base: Base, task: Task, labels: list[str]) -> "PreTrainedModel":
    """Loads the encoder in float32 with a new head for `labels`.

    A head of the same shape that the checkpoint brings is kept.

    Raises:
        UserError: the weights are missing, unsafe, damaged or of another model.
    """
    import torch

    with _one_line(base):
        model, report = model_class(task).from_pretrained(
            base.location,
            id2label=dict(enumerate(labels)),
            label2id={label: index for index, label in enumerate(labels)},
            problem_type=_PROBLEMS[task],
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=base.local,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    _require_weights(base, model, report)
    model.config.name_or_path = base.name
    for field in _CODE:
        vars(model.config).pop(field, None)
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
        raise UserError(f"--model {base.name} cannot be loaded: {first_line(error)}") from error


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


def reads_type_ids(model: "PreTrainedModel") -> bool:
    """Whether the model tells the second text of a pair by its token type ids."""
    parameters = inspect.signature(model.forward).parameters
    return "token_type_ids" in parameters and getattr(model.config, "type_vocab_size", 0) > 1
