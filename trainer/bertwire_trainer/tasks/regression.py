"""One number for each text."""

from typing import TYPE_CHECKING, Any, cast

from bertwire_core.errors import UserError
from bertwire_data.labelled import Labelled
from bertwire_trainer.tasks.spec import TaskSpec

if TYPE_CHECKING:
    import numpy
    import torch
    from numpy.typing import NDArray


def _labels(train: Labelled) -> list[str]:
    if len(set(cast(list[float], train.targets))) < 2:
        raise UserError(f"{train.source} has one number only, {train.targets[0]}; regression needs several")
    assert train.columns.label is not None  # noqa: S101 - reading has resolved it
    return [train.columns.label]


def _loss(logits: "torch.Tensor", targets: "torch.Tensor", *_: object) -> "torch.Tensor":
    import torch

    return torch.nn.functional.mse_loss(logits.view(-1), targets.float().view(-1), reduction="sum")


def _number(logits: "torch.Tensor") -> "torch.Tensor":
    return logits


def _squared(logits: "torch.Tensor", means: "torch.Tensor") -> "torch.Tensor":
    return (logits - means).square().sum(dim=-1)


def _mean(targets: "NDArray[Any]") -> "NDArray[numpy.float64]":
    import numpy

    return numpy.atleast_1d(targets.mean(axis=0, dtype=numpy.float64))


REGRESSION = TaskSpec(labels=_labels, loss=_loss, mean=_number, apart=_squared, prior=_mean, problem_type="regression")
