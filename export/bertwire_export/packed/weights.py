"""Read the weights of BERT-family encoders under common names, as far as their structure is the same.

Sources of the structures: BERT (Devlin et al., 2018), RoBERTa (Liu et al., 2019), DistilBERT (Sanh et al., 2019),
ELECTRA (Clark et al., 2020), each as transformers implements it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bertwire_core.pooled import Network, PooledClassifier, PooledEncoder
from bertwire_core.pooling import Pooling

Floats = NDArray[np.float32]
Activation = Literal["Tanh", "Relu", "Gelu"]


class NotPackable(Exception):
    """A model whose structure the packed graph does not know, with the reason."""


@dataclass(frozen=True, slots=True)
class Linear:
    """A linear layer: weight float32 [out, in], bias float32 [out]."""

    weight: Floats
    bias: Floats


@dataclass(frozen=True, slots=True)
class Norm:
    """A layer normalization: weight and bias float32 [size]."""

    weight: Floats
    bias: Floats
    epsilon: float


@dataclass(frozen=True, slots=True)
class Layer:
    """One transformer layer, normalized after each of its two halves."""

    query: Linear
    key: Linear
    value: Linear
    attention_output: Linear
    attention_norm: Norm
    up: Linear
    down: Linear
    output_norm: Norm


@dataclass(frozen=True, slots=True)
class Encoder:
    """A BERT-family classifier, or an encoder of vectors.

    Attributes:
        words, positions, types: embedding tables, float32 [entries, size]; row 0 of `positions` is that of a text's
            first token; `types` is None for models that tell no segments apart.
        embedding_norm: applied to their sum.
        projection: the linear layer from the embeddings' size to the hidden size, where they differ.
        layers: the transformer layers.
        heads: attention heads.
        dense, activation: the layer before the classifier, or None.
        classifier: to the logits; None where the pooled vector is the output.
        pooling: what `dense`, or the classifier, reads of a text.
        by_token: whether every token is classified; else each text.
        both: whether the pooled vector is a second output.
        skips_padding: whether positions count from 1 and leave padding tokens out.
    """

    words: Floats
    positions: Floats
    types: Floats | None
    embedding_norm: Norm
    projection: Linear | None
    layers: list[Layer]
    heads: int
    dense: Linear | None
    activation: Activation | None
    classifier: Linear | None
    pooling: Pooling
    by_token: bool
    skips_padding: bool
    both: bool = False


@dataclass(frozen=True, slots=True)
class _Family:
    """The names of a family's weights; those of a layer are relative to the layer."""

    embeddings: str
    layer: str
    query: str
    key: str
    value: str
    attention_output: str
    attention_norm: str
    up: str
    down: str
    output_norm: str
    dense: str | None
    activation: Activation
    classifier: str | None
    skips_padding: bool = False


def _bert(prefix: str, dense: str, activation: Activation, classifier: str) -> _Family:
    return _Family(
        embeddings=f"{prefix}.embeddings.",
        layer=f"{prefix}.encoder.layer.{{}}.",
        query="attention.self.query",
        key="attention.self.key",
        value="attention.self.value",
        attention_output="attention.output.dense",
        attention_norm="attention.output.LayerNorm",
        up="intermediate.dense",
        down="output.dense",
        output_norm="output.LayerNorm",
        dense=dense,
        activation=activation,
        classifier=classifier,
        skips_padding=prefix == "roberta",
    )


_FAMILIES = {
    "bert": _bert("bert", "bert.pooler.dense", "Tanh", "classifier"),
    "roberta": _bert("roberta", "classifier.dense", "Tanh", "classifier.out_proj"),
    "xlm-roberta": _bert("roberta", "classifier.dense", "Tanh", "classifier.out_proj"),
    "camembert": _bert("roberta", "classifier.dense", "Tanh", "classifier.out_proj"),
    "electra": _bert("electra", "classifier.dense", "Gelu", "classifier.out_proj"),
    "distilbert": _Family(
        embeddings="distilbert.embeddings.",
        layer="distilbert.transformer.layer.{}.",
        query="attention.q_lin",
        key="attention.k_lin",
        value="attention.v_lin",
        attention_output="attention.out_lin",
        attention_norm="sa_layer_norm",
        up="ffn.lin1",
        down="ffn.lin2",
        output_norm="output_layer_norm",
        dense="pre_classifier",
        activation="Relu",
        classifier="classifier",
    ),
}


def read_encoder(model: Network) -> Encoder:
    """Read the weights of a sequence or token classifier, or of an encoder of vectors.

    Raises:
        NotPackable: another family, another activation or attention, or weights that the graph would leave out.
    """
    config: Any = model.config
    family = _FAMILIES.get(config.model_type)
    if family is None:
        raise NotPackable(f"no packed graph for the model type {config.model_type}")
    _require_plain(config)
    pooling = Pooling("first")
    if isinstance(model, PooledEncoder):
        pooling = model.pooling
        head = "head" if isinstance(model, PooledClassifier) else None
        family = replace(family, dense="pooler" if pooling.pooler else None, activation="Tanh", classifier=head)
    tensors = {name: tensor.detach().float().cpu().numpy() for name, tensor in model.state_dict().items()}
    by_token = model.__class__.__name__.endswith("ForTokenClassification")
    encoder = _read(tensors, family, config, pooling, by_token=by_token)
    if tensors:
        raise NotPackable(f"no packed graph for models with the weight {min(tensors)}")
    return encoder


def _require_plain(config: Any) -> None:  # noqa: ANN401 - each family has its own class
    activation = getattr(config, "hidden_act", None) or getattr(config, "activation", None)
    if activation != "gelu":
        raise NotPackable(f"no packed graph for the activation {activation}")
    if getattr(config, "position_embedding_type", "absolute") not in ("absolute", None):
        raise NotPackable(f"no packed graph for {config.position_embedding_type} positions")
    if getattr(config, "is_decoder", False):
        raise NotPackable("no packed graph for decoders")


def _read(
    tensors: dict[str, Floats],
    family: _Family,
    config: Any,  # noqa: ANN401
    pooling: Pooling,
    *,
    by_token: bool,
) -> Encoder:
    """Read the weights, and take them out of `tensors`."""
    take = tensors.pop

    def linear(name: str) -> Linear:
        return Linear(take(f"{name}.weight"), take(f"{name}.bias"))

    def norm(name: str) -> Norm:
        # DistilBERT's configuration has none: transformers fixes it in the code.
        return Norm(take(f"{name}.weight"), take(f"{name}.bias"), getattr(config, "layer_norm_eps", 1e-12))

    try:
        by_head = "classifier" if by_token else family.classifier
        dense = linear(family.dense) if family.dense and not by_token else None
        projection = f"{config.model_type}.embeddings_project"
        positions = take(f"{family.embeddings}position_embeddings.weight")[_first_position(family, config) :]
        types = tensors.pop(f"{family.embeddings}token_type_embeddings.weight", None)
        if types is not None and len(types) == 1:
            # Every token has the one row, whatever segment the tokenizer says it is of.
            positions, types = positions + types, None
        return Encoder(
            words=take(f"{family.embeddings}word_embeddings.weight"),
            positions=positions,
            types=types,
            embedding_norm=norm(f"{family.embeddings}LayerNorm"),
            projection=linear(projection) if f"{projection}.weight" in tensors else None,
            layers=[_layer(family, index, linear, norm) for index in range(config.num_hidden_layers)],
            heads=config.num_attention_heads,
            dense=dense,
            activation=family.activation if dense else None,
            classifier=linear(by_head) if by_head else None,
            pooling=pooling,
            by_token=by_token,
            skips_padding=family.skips_padding,
        )
    except KeyError as error:
        raise NotPackable(f"no packed graph for models without the weight {error.args[0]}") from None


def _layer(family: _Family, index: int, linear: Callable[[str], Linear], norm: Callable[[str], Norm]) -> Layer:
    prefix = family.layer.format(index)
    return Layer(
        query=linear(prefix + family.query),
        key=linear(prefix + family.key),
        value=linear(prefix + family.value),
        attention_output=linear(prefix + family.attention_output),
        attention_norm=norm(prefix + family.attention_norm),
        up=linear(prefix + family.up),
        down=linear(prefix + family.down),
        output_norm=norm(prefix + family.output_norm),
    )


def _first_position(family: _Family, config: Any) -> int:  # noqa: ANN401
    if not family.skips_padding:
        return 0
    # The row of padding tokens, after which RoBERTa's positions begin; the rows before it are never used.
    if config.pad_token_id is None or config.pad_token_id < 0:
        raise NotPackable("no packed graph for positions that leave padding out where config.json has no pad_token_id")
    return int(config.pad_token_id)
