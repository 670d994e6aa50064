"""Which base checkpoints can be trained, exported and served, by their config.json."""

import json
from typing import TYPE_CHECKING, Any

from bertwire_core.errors import UserError
from bertwire_core.tasks import Task
from bertwire_trainer.base import Base, one_line
from bertwire_trainer.tasks import SPECS

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

# Model types whose graphs give PyTorch's logits for texts of any length in any batch: docs/decisions/024-models.md.
_EXPORTABLE = frozenset(
    {
        *("albert", "bert", "camembert", "data2vec-text", "deberta", "deberta-v2", "distilbert", "electra", "ernie"),
        *("esm", "esmc", "eurobert", "gte", "jina_embeddings_v3", "layoutlm", "luke", "megatron-bert", "mobilebert"),
        *("modernbert", "mpnet", "nomic_bert", "rembert", "roberta", "roberta-prelayernorm", "roformer", "ultrabert"),
        *("xlm-roberta", "xlm-roberta-xl", "xmod"),
    }
)
# Fields that change what the model returns, with the value that training and serving need.
_OUTPUTS = {"return_dict": True, "output_attentions": False, "output_hidden_states": False}


def require_trainable(base: Base, task: Task) -> None:
    """Raise `UserError` where the base is no text encoder that can be exported, or its config.json is wrong."""
    _require_encoder(base, task, _load_config(base))


def _load_config(base: Base) -> "PreTrainedConfig":
    from huggingface_hub.errors import StrictDataclassError
    from transformers import AutoConfig, PreTrainedConfig

    with one_line(base):
        fields, _ = PreTrainedConfig.get_config_dict(base.location, local_files_only=base.local)
    for name in ("id2label", "label2id"):
        if not isinstance(fields.get(name) or {}, dict):
            raise UserError(f"--model {base.name}: its config.json has {name} as a list; it must be an object")
    for name, value in _OUTPUTS.items():
        if fields.get(name, value) is not value:
            raise UserError(
                f"--model {base.name}: its config.json sets {name} to {json.dumps(fields[name])}, with which "
                "no model is trained here; remove the field"
            )
    with one_line(base):
        try:
            config: PreTrainedConfig = AutoConfig.from_pretrained(
                base.location, local_files_only=base.local, trust_remote_code=False
            )
        except StrictDataclassError as error:
            raise UserError(f"--model {base.name}: its config.json is wrong: {' '.join(str(error).split())}") from error
    return config


def _require_encoder(base: Base, task: Task, config: Any) -> None:  # noqa: ANN401 - of any architecture
    from transformers import (
        MODEL_FOR_MASKED_LM_MAPPING,
        MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
        MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING,
    )

    heads = MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING if SPECS[task].by_word else MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING
    # Encoders of text are the architectures that have both heads; decoders and vision models lack the masked one.
    known = type(config) in MODEL_FOR_MASKED_LM_MAPPING and type(config) in heads
    if not known or config.is_encoder_decoder or getattr(config, "is_decoder", False):
        raise UserError(
            f"--model {base.name} is no text encoder but {config.model_type!r}; choose a BERT-family checkpoint"
        )
    if config.model_type not in _EXPORTABLE:
        raise UserError(
            f"--model {base.name} is of the type {config.model_type!r}, which export does not take; choose a "
            "checkpoint of another type, such as bert, roberta, deberta-v2, electra or modernbert"
        )
