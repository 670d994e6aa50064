"""Convert PyTorch models to ONNX in the padded layout, and fuse the graphs."""

import logging
import warnings
from pathlib import Path

import torch
from onnxruntime.transformers.fusion_options import FusionOptions
from onnxruntime.transformers.optimizer import optimize_model

from bertwire_core.pooled import Network, PooledClassifier

# The newest opset whose operators both ONNX Runtime providers and its fusions know in full.
OPSET = 17


def input_names(model: Network) -> list[str]:
    """Return the names of the model's inputs: token types only where it tells them apart."""
    names = ["input_ids", "attention_mask"]
    return [*names, "token_type_ids"] if getattr(model.config, "type_vocab_size", 0) > 1 else names


def convert(model: Network, path: Path, *, both: bool = False) -> None:
    """Write `model` as fp32 ONNX to `path`: int64 [batch, tokens] inputs to `logits` float32 [batch, labels].

    A token classifier's logits are float32 [batch, tokens, labels]. With `both` the graph of a `PooledClassifier` has
    the second output `embedding`, float32 [batch, hidden size].
    """
    inputs = input_names(model)
    example = torch.ones(2, 8, dtype=torch.long)
    axes = {name: {0: "batch", 1: "tokens"} for name in inputs} | {"logits": {0: "batch"}}
    if model.__class__.__name__.endswith("ForTokenClassification"):
        axes["logits"][1] = "tokens"
    outputs = ["logits", "embedding"] if both else ["logits"]
    axes |= {name: {0: "batch"} for name in outputs[1:]}
    with warnings.catch_warnings(), torch.no_grad():
        # The tracer warns of its own deprecation and of every constant. It stays: the newer exporter's graphs leave
        # attention and the embeddings unfused. The gate compares what comes out on real texts.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _Both(model) if both else model,
            kwargs=dict.fromkeys(inputs, example),
            f=str(path),
            input_names=inputs,
            output_names=outputs,
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )


class _Both(torch.nn.Module):
    """A classifier that returns its vectors too."""

    def __init__(self, model: Network) -> None:
        super().__init__()
        assert isinstance(model, PooledClassifier)  # noqa: S101 - `with_vectors`
        self.model = model

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return self.model.both(input_ids, attention_mask, token_type_ids)


def fuse(source: Path, model: Network, path: Path, *, attention: bool) -> None:
    """Fuse what ONNX Runtime has single operators for in the graph at `source`, and write it to `path`.

    Args:
        source: the graph as converted.
        model: the model, for its attention heads and hidden size.
        path: the file to write.
        attention: whether attention is fused together with its linear layers, or these stay apart to be quantized.
    """
    # The second logger warns of every dimension that is not fixed.
    for name in ("onnxruntime.transformers", "symbolic_shape_infer"):
        logging.getLogger(name).setLevel(logging.ERROR)
    options = FusionOptions("bert")
    options.enable_attention = attention
    config = model.config
    fused = optimize_model(
        str(source),
        model_type="bert",
        num_heads=config.num_attention_heads,
        hidden_size=config.hidden_size,
        optimization_options=options,
        opt_level=0,
    )
    fused.save_model_to_file(str(path))
