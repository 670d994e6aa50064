"""The part of a `config.json` that Optimum's older transformers release may see."""

import json
from pathlib import Path
from typing import Any

from bertwire_core.errors import UserError
from bertwire_core.pooling import KEY

# Fields that decide the graph of each model, by the names that both transformers releases know. All others are left
# out: fields that run code, and those that only training or text generation reads.
_COMMON = (
    *("model_type", "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"),
    *("hidden_act", "max_position_embeddings", "type_vocab_size", "layer_norm_eps", "pad_token_id", "is_decoder"),
    *("id2label", "label2id", "problem_type"),
)
_FIELDS = {
    "bert": _COMMON,
    "roberta": _COMMON,
    "xlm-roberta": _COMMON,
    "camembert": _COMMON,
    "mpnet": (*_COMMON, "relative_attention_num_buckets"),
    "electra": (*_COMMON, "embedding_size"),
    "albert": (*_COMMON, "embedding_size", "inner_group_num", "num_hidden_groups"),
    "distilbert": (*_COMMON, "activation", "dim", "hidden_dim", "n_heads", "n_layers", "sinusoidal_pos_embds"),
}


def plain_config(path: Path) -> dict[str, Any]:
    """Read the known fields of `config.json` whose values are numbers, strings, or flat lists and maps of them.

    Raises:
        UserError: the file is not a JSON object, or the model is of a kind that this converter does not know.
    """
    try:
        config = json.loads(path.read_bytes())
    except ValueError as error:
        raise UserError(f"{path} is not JSON: {error}") from None
    kind = config.get("model_type") if isinstance(config, dict) else None
    if not isinstance(kind, str) or kind not in _FIELDS:
        raise UserError(
            f"{path}: --converter optimum knows the models {', '.join(_FIELDS)}, not {kind}; use --converter torch"
        )
    if KEY in config:
        raise UserError(f"{path}: --converter optimum knows no pooled head; use --converter torch")
    return {name: config[name] for name in _FIELDS[kind] if name in config and _is_plain(config[name])}


def _is_plain(value: object) -> bool:
    if isinstance(value, dict):
        return all(map(_is_scalar, value.values()))
    if isinstance(value, list):
        return all(map(_is_scalar, value))
    return _is_scalar(value)


def _is_scalar(value: object) -> bool:
    return value is None or isinstance(value, bool | int | float | str)
