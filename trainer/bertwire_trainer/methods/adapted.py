"""What methods have in common that train adapters in the layers of the encoder, and merge them after training."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from bertwire_trainer.loop.encoder import is_of_encoder
from bertwire_trainer.loop.options import LoopOptions
from bertwire_trainer.method import Fitted, Job

if TYPE_CHECKING:
    from peft.tuners.tuners_utils import BaseTuner

    from bertwire_core.pooled import Classifier

Adapt = Callable[["Classifier", list[str]], "BaseTuner"]


def fit_adapted(job: Job, options: LoopOptions, adapt: Adapt) -> Fitted:
    """Train adapters and the head; return the model of the best epoch with the adapters merged.

    The adapters are put into `job.model` itself. Trainer then saves the whole model, with the head, after each
    epoch, and resumes from that as for full fine-tuning.

    Args:
        job: the input of the method.
        options: the options of the loop.
        adapt: puts adapters into a model with these linear layers of the encoder, and returns them.

    Returns:
        `chosen` has `trained_share`, the weights of adapters and head by those of the whole model, adapters included,
        and `adapter_share`, without the head's.
    """
    from transformers import set_seed

    from bertwire_trainer.loop.trainer import run_epochs
    from bertwire_trainer.messages import note

    # A resumed run may come here with other random numbers drawn.
    set_seed(job.seed)
    model = job.model
    head = [weight for name, weight in model.named_parameters() if not is_of_encoder(name, model)]
    adapted = adapt(model, linear_layers(model))
    total = sum(each.numel() for each in model.parameters())
    adapters = sum(each.numel() for each in model.parameters() if each.requires_grad)
    for weight in head:
        weight.requires_grad_(True)
    trained = adapters + sum(each.numel() for each in head)
    note(f"trains {trained / total:.2%} of the weights: {adapters / total:.2%} in adapters, the rest in the head")
    fitted = run_epochs(job, options)
    # In place: each adapted layer of the model becomes a plain one again.
    adapted.merge_and_unload(safe_merge=True)
    shares = {"trained_share": round(trained / total, 6), "adapter_share": round(adapters / total, 6)}
    return replace(fitted, chosen=fitted.chosen | shares)


def linear_layers(model: "Classifier") -> list[str]:
    """Return the full names of the encoder's linear layers."""
    from torch import nn

    return [
        name for name, layer in model.named_modules() if isinstance(layer, nn.Linear) and is_of_encoder(name, model)
    ]
