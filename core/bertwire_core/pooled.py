"""An encoder with a pooled vector, and a classifier of one linear layer on it: PyTorch. Needs transformers."""

import inspect
from pathlib import Path
from typing import TypeAlias

import torch
from safetensors.torch import load_model, save_model
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from bertwire_core.errors import UserError
from bertwire_core.pooling import KEY, Pooled, Pooling, read_pooling

_WEIGHTS = "model.safetensors"
# Names by which configurations give the dropout before the classifier, the most particular first.
_DROPOUTS = ("classifier_dropout", "classifier_dropout_prob", "seq_classif_dropout", "hidden_dropout_prob")


class PooledEncoder(nn.Module):
    """An encoder and a pooling, which give a vector for each text.

    The weights of the encoder have the names that transformers gives them in a model with a head, so that `AutoModel`
    reads them from a saved folder.

    Attributes:
        config: the encoder's configuration.
        pooling: what makes one vector of a text's tokens.
        pooler: the dense layer with tanh, or None.
    """

    def __init__(self, encoder: PreTrainedModel, pooling: Pooling) -> None:
        """Add the pooling. The encoder loses its own pooler."""
        super().__init__()
        self.config: PreTrainedConfig = encoder.config
        self.base_model_prefix: str = encoder.base_model_prefix
        self.pooling = pooling
        size, spread = self.config.hidden_size, getattr(self.config, "initializer_range", 0.02)
        pretrained = _take_pooler(encoder)
        self.add_module(self.base_model_prefix, encoder)
        self.pooler = (pretrained or _linear(size, size, spread)) if pooling.pooler else None

    @property
    def base_model(self) -> PreTrainedModel:
        """The encoder."""
        return self.get_submodule(self.base_model_prefix)  # type: ignore[return-value]

    def encode(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        """Return the encoder's vectors, float32 [texts, tokens, hidden size], of int64 [texts, tokens] each."""
        types = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        vectors: Tensor = self.base_model(input_ids=input_ids, attention_mask=attention_mask, **types)[0]
        return vectors.float()

    def read(self, vectors: Tensor, attention_mask: Tensor, tokens: Pooled | None = None) -> Tensor:
        """Return the pooled vectors, float32 [texts, hidden size]; `tokens` replaces the model's own."""
        found = pool(vectors, attention_mask, tokens or self.pooling.tokens)
        if self.pooler is not None:
            found = torch.tanh(self.pooler(found))
        return nn.functional.normalize(found, dim=-1) if self.pooling.normalize else found

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> SequenceClassifierOutput:
        """Return the output, as `logits`; without a mask every token counts."""
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        return SequenceClassifierOutput(
            logits=self.answer(self.read(self.encode(input_ids, mask, token_type_ids), mask))
        )

    def answer(self, vectors: Tensor) -> Tensor:
        """Return the output for pooled vectors, float32 [texts, hidden size]: the vectors."""
        return vectors


class PooledClassifier(PooledEncoder):
    """An encoder, a pooling, dropout and one linear layer.

    Attributes:
        head: the linear layer, [labels, hidden size]. A new one is random, its bias 0.
    """

    def __init__(self, encoder: PreTrainedModel, pooling: Pooling) -> None:
        """Add the layers; as many labels as the encoder's configuration names."""
        super().__init__(encoder, pooling)
        size, spread = self.config.hidden_size, getattr(self.config, "initializer_range", 0.02)
        self.dropout = nn.Dropout(_dropout(self.config))
        self.head = _linear(size, len(self.config.id2label or ()), spread)

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return self.head.weight.device

    def set_head(self, weight: Tensor, bias: Tensor) -> None:
        """Copy a weight [labels, hidden size] and a bias [labels], floats, into the linear layer."""
        with torch.no_grad():
            self.head.weight.copy_(weight)
            self.head.bias.copy_(bias)

    def both(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the logits, float [texts, labels], and the vectors that they are of, [texts, hidden size]."""
        vectors = self.read(self.encode(input_ids, attention_mask, token_type_ids), attention_mask)
        return self.answer(vectors), vectors

    def answer(self, vectors: Tensor) -> Tensor:
        """Return the logits, float [texts, labels]."""
        logits: Tensor = self.head(self.dropout(vectors))
        return logits

    def save(self, folder: Path) -> None:
        """Write config.json and the weights in one safetensors file."""
        self.config.architectures = [type(self).__name__]
        setattr(self.config, KEY, self.pooling.field())
        self.config.save_pretrained(folder)
        save_model(self, str(folder / _WEIGHTS), metadata={"format": "pt"})


Classifier: TypeAlias = PreTrainedModel | PooledClassifier
# Whatever is exported.
Network: TypeAlias = Classifier | PooledEncoder


def pool(vectors: Tensor, mask: Tensor, tokens: Pooled) -> Tensor:
    """Return the pooled vectors, float [texts, size], of [texts, tokens, size]; the mask is 1 where a token counts."""
    if tokens == "first":
        return vectors[:, 0]
    counted = mask.unsqueeze(-1)
    if tokens == "max":
        return vectors.masked_fill(counted == 0, torch.finfo(vectors.dtype).min).amax(dim=1)
    counted = counted.to(vectors.dtype)
    return (vectors * counted).sum(dim=1) / counted.sum(dim=1)


def load_pooled(folder: Path, attention: str | None = None) -> PooledClassifier | None:
    """Load what `PooledClassifier.save` wrote, float32 on the CPU, in evaluation mode; runs no code of the folder's.

    Args:
        folder: the checkpoint.
        attention: transformers' name of the attention; None: its default.

    Returns:
        The model; None where the checkpoint has the head of its own architecture.

    Raises:
        UserError: config.json is wrong about the pooling, or the weights are of another model.
        Exception: a file is damaged; transformers and safetensors raise their own.
    """
    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    try:
        pooling = read_pooling(vars(config))
    except UserError as error:
        raise UserError(f"{folder}: {error}") from None
    if pooling is None:
        return None
    encoder = AutoModel.from_config(config, trust_remote_code=False, dtype=torch.float32, attn_implementation=attention)
    model = PooledClassifier(encoder, pooling)
    try:
        load_model(model, folder / _WEIGHTS)
    except RuntimeError as error:  # over several lines, of which the last names a tensor
        reason = str(error).strip().splitlines()[-1].strip()
        raise UserError(f"{folder / _WEIGHTS} does not fit config.json: {reason}") from error
    return model.eval()


def _take_pooler(encoder: PreTrainedModel) -> nn.Linear | None:
    """Return the dense layer of the encoder's own pooler, if it has one; where the encoder runs without, remove it."""
    pooler = getattr(encoder, "pooler", None)
    if "add_pooling_layer" in inspect.signature(type(encoder).__init__).parameters:
        encoder.pooler = None  # type: ignore[assignment]
    dense = getattr(pooler, "dense", pooler)
    return dense if isinstance(dense, nn.Linear) and dense.in_features == dense.out_features else None


def _linear(size: int, outputs: int, spread: float) -> nn.Linear:
    layer = nn.Linear(size, outputs)
    nn.init.normal_(layer.weight, std=spread)
    nn.init.zeros_(layer.bias)
    return layer


def _dropout(config: PreTrainedConfig) -> float:
    return next((value for name in _DROPOUTS if (value := getattr(config, name, None)) is not None), 0.0)
