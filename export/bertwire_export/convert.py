"""PyTorch to ONNX, fused and quantized."""

import logging
import warnings
from pathlib import Path

import onnx
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.transformers.optimizer import optimize_model
from transformers import PreTrainedModel

# The newest opset whose operators both ONNX Runtime providers and its fusions know in full.
OPSET = 17


def input_names(model: PreTrainedModel) -> list[str]:
    """The inputs that the model reads: token types only where it tells them apart."""
    names = ["input_ids", "attention_mask"]
    return [*names, "token_type_ids"] if getattr(model.config, "type_vocab_size", 0) > 1 else names


def convert(model: PreTrainedModel, inputs: list[str], path: Path) -> None:
    """Writes `model` as fp32 ONNX to `path`: `inputs` int64 [batch, tokens] to `logits` float32 [batch, labels]."""
    example = torch.ones(2, 8, dtype=torch.long)
    axes = {name: {0: "batch", 1: "tokens"} for name in inputs} | {"logits": {0: "batch"}}
    with warnings.catch_warnings(), torch.no_grad():
        # The tracer warns of its own deprecation and of every constant. It stays: the newer exporter's graphs leave
        # attention and the embeddings unfused. The gate compares what comes out on real texts.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            kwargs=dict.fromkeys(inputs, example),
            f=str(path),
            input_names=inputs,
            output_names=["logits"],
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )


def fuse(source: Path, model: PreTrainedModel, path: Path) -> None:
    """Writes the graph at `source` to `path` with attention, embeddings, GELU and layer norms as one operator each."""
    logging.getLogger("onnxruntime.transformers").setLevel(logging.ERROR)
    config = model.config
    fused = optimize_model(
        str(source),
        model_type="bert",
        num_heads=config.num_attention_heads,
        hidden_size=config.hidden_size,
        opt_level=0,
    )
    fused.save_model_to_file(str(path))


def quantize(source: Path, path: Path) -> None:
    """Writes the fused graph at `source` to `path` with int8 linear layers.

    Weights are signed, with a scale for each output channel; activations get their scale at run time. Signed weights
    are what the VNNI instructions multiply fastest.
    """
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # the quantizer advises a pre-processing step through the root logger
    try:
        quantize_dynamic(
            source,
            path,
            per_channel=True,
            weight_type=QuantType.QInt8,
            # Without it the quantizer stops at fused operators, whose outputs' types it cannot infer.
            extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
        )
    finally:
        root.setLevel(level)
