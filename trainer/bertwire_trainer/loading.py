"""The model of a base checkpoint, from safetensors only and without its code."""

import inspect
from typing import TYPE_CHECKING, Any

from bertwire_core.chunks import KEY as CHUNKS
from bertwire_core.errors import UserError
from bertwire_core.pooling import KEY, Pooling
from bertwire_core.tasks import Task
from bertwire_trainer.base import Base, one_line
from bertwire_trainer.tasks import SPECS

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from bertwire_core.pooled import Classifier, PooledClassifier

# Fields of config.json that make transformers run code of the checkpoint's where that is allowed. It never runs here,
# and whoever loads the result must not be asked to allow it.
_CODE = ("auto_map", "custom_pipelines")


def model_class(task: Task) -> Any:  # noqa: ANN401 - transformers' Auto classes have no common type
    """Return the Auto class of models with the head for a task."""
    from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification

    return AutoModelForTokenClassification if SPECS[task].by_word else AutoModelForSequenceClassification


def load_model(base: Base, task: Task, labels: list[str]) -> "PreTrainedModel":
    """Load the encoder in float32 with a new head for `labels`; keep a head of the same shape that the checkpoint has.

    Raises:
        UserError: the weights are missing, unsafe, damaged or of another model.
    """
    return _load(model_class(task), base, task, labels)


def load_encoder(base: Base, task: Task, labels: list[str], pooling: Pooling) -> "PooledClassifier":
    """Load the encoder in float32 with a new linear head for `labels` that reads what `pooling` makes of its tokens.

    Raises:
        UserError: as for `load_model`.
    """
    from transformers import AutoModel

    from bertwire_core.pooled import PooledClassifier

    return PooledClassifier(_load(AutoModel, base, task, labels), pooling)


def _load(auto: Any, base: Base, task: Task, labels: list[str]) -> "PreTrainedModel":  # noqa: ANN401 - an Auto class
    import torch

    with one_line(base):
        model, report = auto.from_pretrained(
            base.location,
            id2label=dict(enumerate(labels)),
            label2id={label: index for index, label in enumerate(labels)},
            problem_type=SPECS[task].problem_type,
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=base.local,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    _require_weights(base, model, report)
    model.config.name_or_path = base.name
    # The pooling and the chunks that the base was trained with are no longer its own.
    for field in (*_CODE, KEY, CHUNKS):
        vars(model.config).pop(field, None)
    return model  # type: ignore[no-any-return]


def _require_weights(base: Base, model: "PreTrainedModel", report: dict[str, Any]) -> None:
    prefix = model.base_model_prefix + "."
    absent = {*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])}
    parts = {name for name, _ in model.base_model.named_children()} - {"pooler"}
    # The pooler belongs to the head: some pre-trainings have none.
    broken = sorted(key for key in absent if _is_of(key, prefix, parts))
    if broken:
        raise UserError(
            f"--model {base.name}: its weights lack {len(broken)} tensors of the encoder, the first {broken[0]}; "
            "the file is damaged or of another model"
        )
    unread = sorted(key for key in report["unexpected_keys"] if _is_of(key, prefix, parts))
    if unread:
        raise UserError(
            f"--model {base.name}: transformers' {type(model).__name__} has no place for {len(unread)} tensors of its "
            f"encoder, the first {unread[0]}, and would answer without them; choose another checkpoint"
        )


def _is_of(key: str, prefix: str, parts: set[str]) -> bool:
    """Return whether a tensor is a weight of the encoder itself, not of its pooler or of a head."""
    inner = key.removeprefix(prefix)
    part = inner.split(".", 1)[0]
    counted = inner.endswith((".position_ids", ".token_type_ids"))
    return not counted and (part in parts or (inner != key and part != "pooler"))


def require_tables(base: Base, model: "Classifier", vocabulary: int, max_length: int) -> None:
    """Raise `UserError` where the model's tables are too small for `max_length` tokens or the tokenizer's ids."""
    limit = position_limit(model)
    if limit is not None and max_length > limit:
        raise UserError(f"--max-length {max_length} is more than the {limit} positions of {base.name}; lower it")
    if vocabulary > model.config.vocab_size:
        raise UserError(
            f"--model {base.name}: its tokenizer has more tokens than the model; they are of two checkpoints"
        )


def position_limit(model: "Classifier") -> int | None:
    """Return how many tokens the position table has rows for; None for models with relative positions only."""
    table = getattr(getattr(model.base_model, "embeddings", None), "position_embeddings", None)
    if table is None:
        return getattr(model.config, "max_position_embeddings", None)
    # RoBERTa's kind counts positions from the row after the padding row.
    unused = 0 if table.padding_idx is None else table.padding_idx + 1
    return int(table.num_embeddings) - unused


def reads_type_ids(model: "Classifier") -> bool:
    """Return whether the model tells the second text of a pair by its token type ids."""
    parameters = inspect.signature(model.base_model.forward).parameters
    return "token_type_ids" in parameters and getattr(model.config, "type_vocab_size", 0) > 1
