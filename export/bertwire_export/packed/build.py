"""Build a BERT-family encoder as a graph that computes no padding; its inputs are the packed layout.

Every linear layer and normalization works on [tokens, hidden], the texts laid end to end. Attention works on each
length group by itself and its results are put back in place. Where the head reads the first token alone, the last layer
computes queries, output and feed-forward for the first tokens only.
"""

import numpy as np
import onnx
from onnx import TensorProto

from bertwire_export.packed.graph import CONTRIB, Graph, Shape
from bertwire_export.packed.linear import Fp32Linears, Linears
from bertwire_export.packed.pool import normalized, pooled
from bertwire_export.packed.weights import Encoder, Layer, Linear, Norm

_INT64, _INT32 = TensorProto.INT64, TensorProto.INT32


def build_packed(encoder: Encoder, linears: Linears, groups: int) -> onnx.ModelProto:
    """Build the graph.

    Args:
        encoder: the weights.
        linears: adds the encoder's linear layers; the classifier is always in fp32.
        groups: length groups of the layout; 0 for a graph for CUDA, with ONNX Runtime's packed attention.

    Returns:
        A model with the inputs of `bertwire_runtime.layouts.packed` and the output `logits`, float32
        [texts, labels], or [tokens, labels] where every token is classified; the vectors [texts, hidden] of an encoder.
        Of a classifier that gives both the vectors are the output `embedding`.
    """
    return _Builder(encoder, linears, groups).build()


class _Builder:
    def __init__(self, encoder: Encoder, linears: Linears, groups: int) -> None:
        self._graph = Graph()
        self._encoder, self._linears, self._groups = encoder, linears, groups
        hidden = len(encoder.layers[0].query.bias)
        self._rows = self._graph.constant(np.array([-1, hidden]), "rows")
        self._one = self._graph.constant(np.array([1]), "one")

    def build(self) -> onnx.ModelProto:
        graph, encoder = self._graph, self._encoder
        tokens = self._embeddings()
        *layers, last = enumerate(encoder.layers)
        for index, layer in layers:
            tokens = self._layer(tokens, layer, f"layer.{index}", first_only=False)
        index, layer = last
        first_only = not encoder.by_token and encoder.pooling.tokens == "first"
        value = self._layer(tokens, layer, f"layer.{index}", first_only=first_only)
        if not encoder.by_token and not first_only:
            value = pooled(graph, value, encoder.pooling.tokens, self._groups)
        vector, rows = self._vector(value), "tokens" if encoder.by_token else "texts"
        size = len((encoder.dense or layer.down).bias)
        if encoder.classifier is None:
            return graph.model({"logits": (vector, [rows, size])})
        logits = Fp32Linears()(graph, vector, encoder.classifier, "classifier")
        outputs: dict[str, tuple[str, Shape]] = {"logits": (logits, [rows, len(encoder.classifier.bias)])}
        return graph.model(outputs | ({"embedding": (vector, [rows, size])} if encoder.both else {}))

    def _embeddings(self) -> str:
        graph, encoder = self._graph, self._encoder
        tables = [(encoder.words, "input_ids"), (encoder.positions, "position_ids"), (encoder.types, "token_type_ids")]
        parts = [
            graph.add("Gather", graph.constant(table, name), self._input(name, "tokens"))
            for table, name in tables
            if table is not None
        ]
        value = parts[0]
        for part in parts[1:]:
            value = graph.add("Add", value, part)
        value = self._norm(value, encoder.embedding_norm)
        if encoder.projection is not None:
            value = self._linears(graph, value, encoder.projection, "projection")
        return value

    def _layer(self, tokens: str, layer: Layer, name: str, *, first_only: bool) -> str:
        """Add one layer for all tokens, or for the first of each text, which attends to all."""
        graph, linears = self._graph, self._linears
        rows = self._first(tokens) if first_only else tokens
        # Packed attention has as many queries as keys; of its output the first rows are taken.
        early = first_only and bool(self._groups)
        attended = self._attention(
            linears(graph, rows if early else tokens, layer.query, f"{name}.query"),
            linears(graph, tokens, layer.key, f"{name}.key"),
            linears(graph, tokens, layer.value, f"{name}.value"),
            first_only=first_only,
        )
        attended = self._first(attended) if first_only and not early else attended
        middle = self._added(attended, layer.attention_output, f"{name}.attention_output", rows, layer.attention_norm)
        wide = linears(graph, middle, layer.up, f"{name}.up", bias=False)
        wide = graph.add("BiasGelu", wide, graph.constant(layer.up.bias, f"{name}.up.bias"), domain=CONTRIB)
        return self._added(wide, layer.down, f"{name}.down", middle, layer.output_norm)

    def _attention(self, query: str, key: str, value: str, *, first_only: bool) -> str:
        if not self._groups:
            return self._packed_attention(query, key, value)
        graph = self._graph
        outputs = []
        for number in range(self._groups):
            shape = f"group_{number}_size", f"group_{number}_longest"
            slots = self._input(f"group_{number}_tokens", *shape)
            mask = graph.input(f"group_{number}_mask", _INT32, list(shape))
            if first_only:
                asked = graph.add("Gather", query, self._input(f"group_{number}_texts", shape[0]))
                asked = graph.add("Unsqueeze", asked, self._one)
            else:
                asked = graph.add("Gather", query, slots)
            inputs = asked, graph.add("Gather", key, slots), graph.add("Gather", value, slots), "", mask
            heads = graph.add("MultiHeadAttention", *inputs, domain=CONTRIB, num_heads=self._encoder.heads)
            outputs.append(graph.add("Reshape", heads, self._rows))
        together = graph.add("Concat", *outputs, axis=0) if len(outputs) > 1 else outputs[0]
        restore = self._input("restore_texts", "texts") if first_only else self._input("restore_tokens", "tokens")
        return graph.add("Gather", together, restore)

    def _first(self, tokens: str) -> str:
        return self._graph.add("Gather", tokens, self._input("first_tokens", "texts"))

    def _packed_attention(self, query: str, key: str, value: str) -> str:
        graph = self._graph
        offsets = graph.input("token_offset", _INT32, ["texts", "longest"])
        lengths = graph.input("cumulative_lengths", _INT32, ["texts_and_one"])
        inputs = query, key, value, "", offsets, lengths
        return graph.add("PackedMultiHeadAttention", *inputs, domain=CONTRIB, num_heads=self._encoder.heads)

    def _added(self, value: str, layer: Linear, name: str, skipped: str, norm: Norm) -> str:
        """Add a linear layer, its skip connection and a normalization; on CUDA one kernel does it, slower on CPUs."""
        graph = self._graph
        if self._groups:
            return self._norm(graph.add("Add", self._linears(graph, value, layer, name), skipped), norm)
        product = self._linears(graph, value, layer, name, bias=False)
        inputs = product, skipped, *self._norm_weights(norm), graph.constant(layer.bias, f"{name}.bias")
        return graph.add("SkipLayerNormalization", *inputs, domain=CONTRIB, epsilon=norm.epsilon)

    def _norm(self, value: str, norm: Norm) -> str:
        return self._graph.add("LayerNormalization", value, *self._norm_weights(norm), axis=-1, epsilon=norm.epsilon)

    def _norm_weights(self, norm: Norm) -> tuple[str, str]:
        return self._graph.constant(norm.weight, "norm.weight"), self._graph.constant(norm.bias, "norm.bias")

    def _vector(self, value: str) -> str:
        """Add what stands between the last layer, or the pooled vector, and the classifier."""
        graph, encoder = self._graph, self._encoder
        if encoder.dense is not None and encoder.activation is not None:
            value = Fp32Linears()(graph, value, encoder.dense, "dense")
            domain = CONTRIB if encoder.activation == "Gelu" else ""
            value = graph.add(encoder.activation, value, domain=domain)
        return normalized(graph, value) if encoder.pooling.normalize else value

    def _input(self, name: str, *shape: str) -> str:
        return self._graph.input(name, _INT64, list(shape))
