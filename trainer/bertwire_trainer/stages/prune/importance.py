"""How much the feed-forward neurons of an encoder say."""

from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from bertwire_trainer.method import Job
from bertwire_trainer.predict import predict


def important_neurons(job: Job, outputs: list[nn.Linear], width: int) -> list[list[int]]:
    """Return the neurons to keep of each layer, in order: those that add most to its output over the tokens of train.

    A neuron adds its mean absolute activation times the Euclidean norm of its weights in the linear layer after it.

    Args:
        job: the job, of which the model reads train once.
        outputs: the linear layer after the neurons of each layer.
        width: number of neurons to keep.
    """
    sums = [torch.zeros(layer.in_features, dtype=torch.float64) for layer in outputs]

    def add(total: Tensor, inputs: tuple[Any, ...]) -> None:
        total += inputs[0].detach().abs().flatten(0, -2).sum(0, dtype=torch.float64).cpu()

    device = "cuda" if torch.cuda.is_available() else "cpu"
    job.model.to(device)  # type: ignore[arg-type]  # transformers' decorator hides the signature
    with ExitStack() as hooks:
        for layer, total in zip(outputs, sums, strict=True):
            hook = layer.register_forward_pre_hook(lambda _, inputs, total=total: add(total, inputs))
            hooks.callback(hook.remove)
        predict(job.model, job.tokenizer, job.tokens["train"], job.data.labels, "prune")
    job.model.to("cpu")  # type: ignore[arg-type]
    norms = [layer.weight.detach().norm(dim=0).double() for layer in outputs]
    return [sorted((total * norm).topk(width).indices.tolist()) for total, norm in zip(sums, norms, strict=True)]
