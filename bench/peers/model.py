"""The model file of the other servers: fused and quantized by ONNX Runtime's own tools, in the padded layout."""

import json
import logging
from dataclasses import dataclass
from pathlib import Path

from onnx import TensorProto
from onnxruntime.quantization import QuantType, quantize_dynamic

from bertwire_export.checkpoint import load_checkpoint
from bertwire_export.convert import convert, fuse


@dataclass(frozen=True)
class PeerModel:
    """What the other servers load.

    Attributes:
        path: the ONNX file, int8.
        environment: variables that name it, its tokenizer, labels and limit.
    """

    path: Path
    environment: dict[str, str]


def make_model(checkpoint: Path, folder: Path) -> PeerModel:
    """Write the file into `folder`; raise `UserError` for an invalid checkpoint."""
    loaded = load_checkpoint(checkpoint)
    converted, fused, path = (folder / f"{name}.onnx" for name in ("converted", "fused", "int8"))
    convert(loaded.model, converted)
    fuse(converted, loaded.model, fused, attention=True)
    # QAttention of ONNX Runtime takes the fused node, so that attention's weights are quantized too.
    logging.getLogger().setLevel(logging.ERROR)
    quantize_dynamic(fused, path, weight_type=QuantType.QInt8, extra_options={"DefaultTensorType": TensorProto.FLOAT})
    environment = {
        "PEER_MODEL": str(path.resolve()),
        "PEER_TOKENIZER": str((checkpoint / "tokenizer.json").resolve()),
        "PEER_LABELS": json.dumps(loaded.training.labels),
        "PEER_MAX_LENGTH": str(loaded.training.max_length),
    }
    return PeerModel(path, environment)
