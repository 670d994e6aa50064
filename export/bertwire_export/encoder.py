"""Load an encoder that was not trained here, for the vectors that it gives."""

import json
from pathlib import Path

import torch
from transformers import MODEL_FOR_MASKED_LM_MAPPING, AutoConfig, AutoModel, PreTrainedModel, PreTrainedTokenizerBase

from bertwire_core.errors import UserError
from bertwire_core.files import unicode_name
from bertwire_core.minilm import NAME, minilm_folder
from bertwire_core.pooled import PooledEncoder
from bertwire_core.pooling import KEY, Pooling
from bertwire_export.checkpoint import (
    ATTENTION,
    TOKENIZER,
    TRAINING,
    WEIGHTS,
    Checkpoint,
    Training,
    load_tokenizer,
    loaded,
    positions,
    require_files,
    require_usable,
    sha256,
)
from bertwire_export.config import ExportConfig
from bertwire_export.sentence import MODULES, Sentence, read_sentence
from bertwire_runtime.bundle import Embedding

# Most tokens of a text where nothing says how many. Halved, more texts lose their ends; attention takes four times as
# long for twice as many.
_MOST_TOKENS = 512
# Ends of the names of architectures with a head that only bertwire's own record explains.
_HEADS = ("ForSequenceClassification", "ForTokenClassification")


def source_folder(checkpoint: Path) -> Path:
    """Return the folder that CHECKPOINT names; raise `UserError` where it is the installed MiniLM and is not there."""
    return minilm_folder("CHECKPOINT") if str(checkpoint) == NAME else checkpoint


def is_encoder(folder: Path) -> bool:
    """Whether a folder holds an encoder that was not trained here: no record of a training, and no head for labels."""
    if (folder / TRAINING).exists():
        return False
    if (folder / MODULES).is_file():
        return True
    try:
        config = json.loads((folder / "config.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    if not isinstance(config, dict) or KEY in config:
        return False
    return not str((config.get("architectures") or [""])[0]).endswith(_HEADS)


def load_encoder(config: ExportConfig) -> Checkpoint:
    """Load the encoder of CHECKPOINT with the pooling of the options, else its own, else the mean.

    Weights come from safetensors only and no code of the folder's runs.

    Raises:
        UserError: the folder is not whole, or its model is no encoder of texts that can be exported.
    """
    path = source_folder(config.checkpoint)
    sentence = read_sentence(path)
    folder = sentence.folder
    require_files(folder, ("config.json", WEIGHTS, TOKENIZER), "an encoder that can be exported")
    tokenizer = load_tokenizer(folder)
    pooling = _pooling(config, sentence)
    model = loaded(folder, lambda: PooledEncoder(_load(folder), pooling)).float().eval()
    _require_tokens(folder, tokenizer, model)
    training = Training(
        schema_version=2,
        task="embedding",
        text_pairs=False,
        labels=[],
        max_length=config.max_length or _max_length(sentence, tokenizer, model),
        truncation_side="left" if tokenizer.truncation_side == "left" else "right",
        base_model=NAME if str(config.checkpoint) == NAME else unicode_name(path.resolve()),
    )
    vector = Embedding(dimensions=model.config.hidden_size, pooling=pooling.tokens, normalize=pooling.normalize)
    checkpoint = Checkpoint(folder, training, model, tokenizer, sha256(folder / WEIGHTS), None, vector)
    require_usable(checkpoint)
    return checkpoint


def _pooling(config: ExportConfig, sentence: Sentence) -> Pooling:
    own = sentence.pooling or Pooling("mean")
    normalize = own.normalize if config.normalize is None else config.normalize
    return Pooling(config.pooling or own.tokens, normalize=normalize)


def _max_length(sentence: Sentence, tokenizer: PreTrainedTokenizerBase, model: PooledEncoder) -> int:
    """Return the most tokens of a text: those of its folder, else of the tokenizer, within the model's positions."""
    asked = sentence.max_length or min(tokenizer.model_max_length, _MOST_TOKENS)
    return max(3, min(asked, positions(model)))


def _load(folder: Path) -> PreTrainedModel:
    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    known = type(config) in MODEL_FOR_MASKED_LM_MAPPING
    if not known or config.is_encoder_decoder or getattr(config, "is_decoder", False):
        raise UserError(f"{folder} is no text encoder but {config.model_type!r}; choose a BERT-family encoder")
    model, report = AutoModel.from_pretrained(
        folder,
        attn_implementation=ATTENTION,
        dtype=torch.float32,
        use_safetensors=True,
        trust_remote_code=False,
        local_files_only=True,
        output_loading_info=True,
        return_dict=True,
        output_attentions=False,
        output_hidden_states=False,
    )
    _require_weights(folder, model, report)
    encoder: PreTrainedModel = model
    return encoder


def _require_weights(folder: Path, model: PreTrainedModel, report: dict[str, set[str]]) -> None:
    """Raise `UserError` where the encoder would lack weights, or the file has weights that it does not read."""
    parts = {name for name, _ in model.named_children()} - {"pooler"}
    absent = [key for key in map(str, report["missing_keys"]) if _part(key, model) in parts]
    if absent or report["mismatched_keys"]:
        first = min([*absent, *map(str, report["mismatched_keys"])])
        raise UserError(f"{folder / WEIGHTS} does not fit config.json: it lacks {first}")
    # Tables of places, which older releases saved.
    unread = [key for key in map(str, report["unexpected_keys"]) if not key.endswith(("position_ids", "type_ids"))]
    if places := [key for key in unread if _part(key, model) in parts]:
        raise UserError(f"{folder / WEIGHTS} does not fit config.json: the model has no place for {min(places)}")


def _part(key: str, model: PreTrainedModel) -> str:
    return key.removeprefix(f"{model.base_model_prefix}.").partition(".")[0]


def _require_tokens(folder: Path, tokenizer: PreTrainedTokenizerBase, model: PooledEncoder) -> None:
    if len(tokenizer) > model.config.vocab_size:
        raise UserError(f"{folder}: its tokenizer has more tokens than the model; they are of two checkpoints")
