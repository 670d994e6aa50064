"""Read a checkpoint folder written by the trainer."""

import hashlib
import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeVar

import transformers
from pydantic import BaseModel, Field, ValidationError
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase, logging

from bertwire_core.errors import UserError, first_line
from bertwire_core.lfs import require_fetched
from bertwire_core.pooled import Classifier, Network, PooledClassifier, load_pooled
from bertwire_core.tasks import ServedTask
from bertwire_export.padding import padding_counts
from bertwire_export.tasks import TASK_EXPORTS
from bertwire_runtime.bundle import Embedding
from bertwire_runtime.heads import HEADS

WEIGHTS, TOKENIZER, TRAINING = "model.safetensors", "tokenizer.json", "training.json"
# Fields that make some transformers release fetch and run code.
CODE_FIELDS = frozenset({"auto_map", "custom_pipelines", "_attn_implementation_internal"})
# The ONNX fusions know the pattern of eager attention, and not that of scaled_dot_product_attention.
ATTENTION = "eager"

Loaded = TypeVar("Loaded")


class TrainedRows(BaseModel):
    """The part of a split's record that export needs.

    Attributes:
        sha256: the hash that `Labelled.sha256` gives its rows.
        source: the name of the file that they came from.
    """

    sha256: str
    source: str = ""


class Abstain(BaseModel):
    """When the model abstains, as `bertwire train --abstain` chose it."""

    threshold: float = Field(allow_inf_nan=False)


class Stages(BaseModel):
    """The stages of training that export needs to know of."""

    abstain: Abstain | None = None


class Training(BaseModel):
    """The part of `training.json` that export needs; other keys are the trainer's own."""

    schema_version: Literal[2]
    task: ServedTask
    text_pairs: bool
    labels: list[str]
    max_length: int = Field(ge=3, le=8192)
    chunks: int = Field(1, ge=1, le=64)
    chunk_overlap: int = Field(0, ge=0)
    truncation_side: Literal["left", "right"]
    base_model: str
    data: dict[str, TrainedRows] = {}
    stages: Stages = Stages()


@dataclass(frozen=True)
class Checkpoint:
    """A model: fine-tuned, or an encoder for its vectors.

    Attributes:
        path: its folder.
        training: the trainer's record of it; of an encoder what such a record would say.
        model: the network in fp32, in evaluation mode.
        tokenizer: the tokenizer that training used.
        weights_sha256: SHA-256 of the weights file.
        training_sha256: SHA-256 of `training.json`; None without it.
        embedding: the vectors of an encoder, or of a classifier that shall give its own too; else None.
    """

    path: Path
    training: Training
    model: Network
    tokenizer: PreTrainedTokenizerBase
    weights_sha256: str
    training_sha256: str | None
    embedding: Embedding | None = None

    @property
    def reads_types(self) -> bool:
        """Whether the model tells segments apart."""
        return getattr(self.model.config, "type_vocab_size", 0) > 1

    @property
    def both(self) -> bool:
        """Whether graphs give a vector beside the logits, as a second output."""
        return self.embedding is not None and bool(self.training.labels)

    @property
    def pad_token_id(self) -> int:
        """The token that fills a padded batch and that RoBERTa's positions leave out: the model's own, if it has one.

        The tokenizer may call another one its padding token.
        """
        own = getattr(self.model.config, "pad_token_id", None)
        if isinstance(own, int) and 0 <= own < self.model.config.vocab_size:
            return own
        return int(self.tokenizer.pad_token_id)


def load_checkpoint(path: Path) -> Checkpoint:
    """Load a checkpoint. Raise `UserError` where the folder is not a whole one written by the trainer.

    Weights come from safetensors only and no code of the checkpoint's runs.
    """
    if not path.is_dir():
        raise UserError(f"{path}: no such checkpoint; bertwire train writes one")
    require_files(path, (TRAINING, "config.json", WEIGHTS, TOKENIZER), "a checkpoint written by bertwire train")
    training = _read_training(path)
    model = _load_model(path, training.task)
    if model.config.id2label != dict(enumerate(training.labels)):
        raise UserError(f"{path}: config.json and {TRAINING} name different labels; train again")
    checkpoint = Checkpoint(
        path, training, model, load_tokenizer(path), sha256(path / WEIGHTS), sha256(path / TRAINING)
    )
    require_usable(checkpoint)
    return checkpoint


def with_vectors(checkpoint: Checkpoint) -> Checkpoint:
    """Return a classifier whose graphs shall give what its head reads; raise `UserError` where that is no vector."""
    model = checkpoint.model
    if not isinstance(model, PooledClassifier):
        raise UserError(f"--vectors: the head of {checkpoint.path} reads no pooled vector; train with --pooling mean")
    if checkpoint.training.text_pairs:
        raise UserError("--vectors is for models of single texts; this one reads pairs")
    own = Embedding(
        dimensions=model.config.hidden_size, pooling=model.pooling.tokens, normalize=model.pooling.normalize
    )
    return replace(checkpoint, embedding=own)


def require_files(path: Path, names: tuple[str, ...], what: str) -> None:
    """Raise `UserError` where a folder lacks a file that `what` has, or has pointers of Git LFS in place of files."""
    for name in names:
        if not (path / name).is_file():
            raise UserError(f"{path} has no {name}; it is not {what}")
    require_fetched(*sorted(path.iterdir()))


def require_usable(checkpoint: Checkpoint) -> None:
    """Raise `UserError` where the padding of a batch changes the output, or the length is above the positions."""
    _require_padding_ignored(checkpoint)
    most, found = checkpoint.training.max_length, positions(checkpoint.model)
    if most > found:
        raise UserError(f"{checkpoint.path}: max_length {most} is above the model's {found} positions")


def _require_padding_ignored(checkpoint: Checkpoint) -> None:
    ids = list(checkpoint.tokenizer("a")["input_ids"])[: checkpoint.training.max_length]
    worst = padding_counts(checkpoint.model, ids, checkpoint.pad_token_id, checkpoint.training.max_length)
    if worst is not None:
        raise UserError(
            f"{checkpoint.path}: its answers depend on the padding of a batch, by {worst:.2g} in a logit, so that it "
            f"cannot be served; train a base of another type than {checkpoint.model.config.model_type}"
        )


def _read_training(path: Path) -> Training:
    try:
        return Training.model_validate_json((path / TRAINING).read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{path / TRAINING} is wrong at {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def loaded(path: Path, load: Callable[[], Loaded]) -> Loaded:
    """Return the model that `load` reads from a folder; raise `UserError` where that fails, or would run code."""
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    _refuse_code(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return load()
    except UserError:
        raise
    except Exception as error:  # safetensors, transformers and torch each raise their own
        raise UserError(f"{path} cannot be loaded: {first_line(error)}") from error


def _load_model(path: Path, task: ServedTask) -> Classifier:
    model: Classifier = loaded(path, lambda: load_pooled(path, ATTENTION) or _load_own_head(path, task))
    if HEADS[task].by_token and isinstance(model, PooledClassifier):
        raise UserError(f"{path}: its head reads one vector a text, and {task} needs every token; train again")
    return model.float().eval()


def _load_own_head(path: Path, task: ServedTask) -> PreTrainedModel:
    model, loading = getattr(transformers, TASK_EXPORTS[task].auto_class).from_pretrained(
        path,
        attn_implementation=ATTENTION,
        use_safetensors=True,
        trust_remote_code=False,
        local_files_only=True,
        output_loading_info=True,
        # Whatever config.json says: a model that returns anything else cannot be converted.
        return_dict=True,
        output_attentions=False,
        output_hidden_states=False,
    )
    # Weights that the file lacks would be random, and the gate would compare random weights with themselves.
    for kind, keys in loading.items():
        if keys:
            raise UserError(
                f"{path / WEIGHTS} does not fit config.json: {kind.replace('_', ' ')} {min(map(str, keys))}"
            )
    own: PreTrainedModel = model
    return own


def load_tokenizer(path: Path) -> PreTrainedTokenizerBase:
    """Load a tokenizer; raise `UserError` where that fails, or where it has no padding token."""
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            path, trust_remote_code=False, local_files_only=True
        )
    except Exception as error:  # tokenizers raises bare Exception
        raise UserError(f"{path / TOKENIZER} cannot be loaded: {first_line(error)}") from error
    if tokenizer.pad_token_id is None:
        raise UserError(f"{path}: the tokenizer has no padding token; bertwire serves BERT-family encoders")
    return tokenizer


def _refuse_code(path: Path) -> None:
    try:
        config = json.loads((path / "config.json").read_bytes())
    except ValueError as error:
        raise UserError(f"{path / 'config.json'} is not JSON: {error}") from error
    if (path / "adapter_config.json").exists():
        raise UserError(f"{path} has an adapter_config.json, which would load another model's weights; remove it")
    if not isinstance(config, dict):
        raise UserError(f"{path / 'config.json'} holds no JSON object; it is no configuration of a model")
    if found := sorted(CODE_FIELDS & set(config)):
        raise UserError(f"{path / 'config.json'} has the field {found[0]}, which can run code; remove it")


def positions(model: Network) -> int:
    """Return how many tokens the model has positions for; without a table as many as anyone has."""
    table = getattr(getattr(model.base_model, "embeddings", None), "position_embeddings", None)
    if table is None:
        return getattr(model.config, "max_position_embeddings", None) or 1 << 30
    # RoBERTa and its relatives count positions from the row after the padding row.
    return int(table.num_embeddings) - (0 if table.padding_idx is None else int(table.padding_idx) + 1)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
