"""LoRA: low-rank adapters beside the linear layers of the encoder, merged into their weights after training."""

from typing import TYPE_CHECKING

from pydantic import Field

from bertwire_core.errors import UserError
from bertwire_core.pooling import Pooling
from bertwire_core.tasks import TASKS
from bertwire_trainer.loop.options import LoopOptions
from bertwire_trainer.method import Fitted, Job
from bertwire_trainer.methods.adapted import fit_adapted

if TYPE_CHECKING:
    from bertwire_core.pooled import Classifier


class LoraOptions(LoopOptions):
    """The loop's options and the shape of the adapters."""

    learning_rate: float = Field(1e-3, gt=0, description="Peak learning rate of AdamW; it decays linearly to 0.")
    lora_rank: int = Field(8, ge=1, description="Rank of each adapter.")
    lora_alpha: int = Field(16, ge=1, description="Scale of the adapters: their output is times alpha / rank.")
    lora_dropout: float = Field(0.05, ge=0, lt=1, description="Dropout before each adapter.")
    lora_target: list[str] = Field(
        [],
        description="Name of the linear layers to adapt, such as query or intermediate.dense; once for each name. "
        "Unset: all of the encoder.",
    )
    lora_dora: bool = Field(False, description="Learn the magnitude of the weights apart from their direction (DoRA).")


class Lora:
    """Train adapters and the head; the other weights of the encoder stay as they are."""

    Options = LoraOptions
    tasks = frozenset(TASKS)
    pooling: Pooling | None = None

    def fit(self, job: Job, options: LoraOptions) -> Fitted:
        """Train the adapters and the head; return the model of the best epoch with the adapters merged."""
        from peft import LoraConfig, LoraModel

        def adapt(model: "Classifier", layers: list[str]) -> LoraModel:
            shape = LoraConfig(
                r=options.lora_rank,
                lora_alpha=options.lora_alpha,
                lora_dropout=options.lora_dropout,
                target_modules=_targets(layers, options.lora_target),
                use_dora=options.lora_dora,
            )
            return LoraModel(model, shape, "default")

        return fit_adapted(job, options, adapt)


def _targets(layers: list[str], asked: list[str]) -> list[str]:
    """Return the layers whose name ends with one of those asked for; all where none is asked for."""
    for name in asked:
        if not any(_ends_with(layer, name) for layer in layers):
            known = ", ".join(sorted({layer.rpartition(".")[2] for layer in layers}))
            raise UserError(f"--lora-target {name}: the encoder has no such linear layer; it has {known}")
    return [layer for layer in layers if not asked or any(_ends_with(layer, name) for name in asked)]


def _ends_with(layer: str, name: str) -> bool:
    return f".{layer}".endswith(f".{name}")
