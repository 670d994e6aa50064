"""Triton with a Python model, by nvidia-pytriton: dynamic batches of at most 32 calls."""

import os

import numpy as np
from common import MAX_BATCH, Model
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

model = Model()


@batch
def classify(text: np.ndarray) -> dict[str, np.ndarray]:
    """Answer the calls of a batch, bytes [calls, 1]."""
    found = model.classify([each.decode() for each in text[:, 0]])
    return {"label": np.array([[label.encode()] for label, _ in found], dtype=np.object_)}


if __name__ == "__main__":
    port = int(os.environ["PEER_PORT"])
    config = TritonConfig(
        allow_http=True, http_port=port + 1, grpc_port=port, allow_metrics=False, http_address="127.0.0.1"
    )
    with Triton(config=config) as triton:
        triton.bind(
            model_name="peer",
            infer_func=classify,
            inputs=[Tensor(name="text", dtype=bytes, shape=(1,))],
            outputs=[Tensor(name="label", dtype=bytes, shape=(1,))],
            config=ModelConfig(max_batch_size=MAX_BATCH, batcher=DynamicBatcher()),
        )
        triton.serve()
