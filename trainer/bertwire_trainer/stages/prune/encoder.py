"""Removal of layers and feed-forward neurons from an encoder, with its configuration."""

import json
from typing import Any

import torch
from torch import nn

from bertwire_core.errors import UserError
from bertwire_core.files import whole_file
from bertwire_trainer.messages import note
from bertwire_trainer.method import Job
from bertwire_trainer.stages.prune.importance import important_neurons
from bertwire_trainer.stages.prune.options import PruneOptions

# Model types with one list of layers, each with two linear layers as its feed-forward network, by the field of
# config.json with the number of its neurons.
_WIDTHS = {
    "bert": "intermediate_size",
    "camembert": "intermediate_size",
    "distilbert": "hidden_dim",
    "electra": "intermediate_size",
    "mpnet": "intermediate_size",
    "roberta": "intermediate_size",
    "xlm-roberta": "intermediate_size",
}


def prune_encoder(job: Job, options: PruneOptions) -> dict[str, Any]:
    """Remove layers, then neurons, of the encoder of `job.model` in place.

    Of the layers the first stay: arXiv 2004.03844 finds that tasks depend on the lower ones the most.

    Returns:
        The numbers of layers, neurons and weights that stay, and of weights before.

    Raises:
        UserError: the encoder is of another type, or has no more layers than are to stay.
    """
    config = job.model.config
    if config.model_type not in _WIDTHS:
        raise UserError(f"--prune is for {', '.join(_WIDTHS)}; {job.base.name} is of the type {config.model_type!r}")
    before = _weights(job.model)
    layers = _layers(job)
    if options.prune_layers is not None:
        if options.prune_layers >= len(layers):
            raise UserError(f"--prune-layers {options.prune_layers}: {job.base.name} has {len(layers)} layers only")
        del layers[options.prune_layers :]
        _configure(job, "num_hidden_layers", options.prune_layers)
    field = _WIDTHS[config.model_type]
    if options.prune_width is not None:
        _narrow(job, layers, max(1, round(options.prune_width * getattr(config, field))), field)
    after = _weights(job.model)
    width = getattr(config, field)
    note(f"prune: {len(layers)} layers with {width} neurons, {after / 1e6:.2f} M of {before / 1e6:.2f} M weights")
    return {"layers": len(layers), "width": width, "weights": after, "weights_before": before}


def _narrow(job: Job, layers: nn.ModuleList, width: int, field: str) -> None:
    pairs = [_feed_forward(layer, getattr(job.model.config, field)) for layer in layers]
    kept = job.epochs / "prune" / "neurons.json"
    if not kept.exists():
        with whole_file(kept) as file:
            file.write_text(
                json.dumps(important_neurons(job, [second for _, second in pairs], width)), encoding="utf-8"
            )
    for (first, second), neurons in zip(pairs, json.loads(kept.read_text(encoding="utf-8")), strict=True):
        _take(first, neurons, 0)
        _take(second, neurons, 1)
    _configure(job, field, width)


def _take(layer: nn.Linear, neurons: list[int], dimension: int) -> None:
    """Keep some outputs (dimension 0) or inputs (1) of a linear layer."""
    index = torch.tensor(neurons)
    layer.weight = nn.Parameter(layer.weight.detach().index_select(dimension, index).contiguous())
    if dimension == 0 and layer.bias is not None:
        layer.bias = nn.Parameter(layer.bias.detach().index_select(0, index))
    layer.out_features, layer.in_features = layer.weight.shape


def _layers(job: Job) -> nn.ModuleList:
    count = job.model.config.num_hidden_layers
    lists = (each for each in job.model.base_model.modules() if isinstance(each, nn.ModuleList))
    return next(each for each in lists if len(each) == count)


def _feed_forward(layer: nn.Module, width: int) -> tuple[nn.Linear, nn.Linear]:
    """Return the linear layers into and out of the feed-forward neurons."""
    linears = [(name, each) for name, each in layer.named_modules() if isinstance(each, nn.Linear)]
    outside = [each for name, each in linears if "attention" not in name.split(".")]
    first, second = outside
    assert first.out_features == second.in_features == width  # noqa: S101 - of every type in the table
    return first, second


def _configure(job: Job, field: str, value: int) -> None:
    for model in (job.model, job.model.base_model):
        setattr(model.config, field, value)


def _weights(model: nn.Module) -> int:
    return sum(each.numel() for each in model.parameters())
