"""IA3: learned scales of keys, values and feed-forward neurons, merged into the weights after training.

The method of Liu et al. 2022, "Few-Shot Parameter-Efficient Fine-Tuning is Better and Cheaper than In-Context
Learning" (T-Few), which also has the learning rate.
"""

from typing import TYPE_CHECKING

from pydantic import Field

from bertwire_core.errors import UserError
from bertwire_core.pooling import Pooling
from bertwire_core.tasks import TASKS
from bertwire_trainer.loop.options import LoopOptions
from bertwire_trainer.method import Fitted, Job
from bertwire_trainer.methods.adapted import fit_adapted

if TYPE_CHECKING:
    from peft import IA3Model

    from bertwire_core.pooled import Classifier

# Names of the linear layers of keys and values. Where one layer gives queries, keys and values at once, all are scaled:
# a scale of a query has the effect of one of its key.
_ATTENTION = (
    *("key", "value", "key_proj", "value_proj", "k_proj", "v_proj", "k_lin", "v_lin", "attn.k", "attn.v"),
    *("Wqkv", "in_proj"),
)
# Fields of config.json with the number of a layer's feed-forward neurons.
_WIDTHS = ("intermediate_size", "hidden_dim")


class Ia3Options(LoopOptions):
    """The loop's options; scales learn at a higher rate than weights, and decay would move them to 0."""

    learning_rate: float = Field(3e-3, gt=0, description="Peak learning rate of AdamW; it decays linearly to 0.")
    weight_decay: float = Field(0.0, ge=0, description="Weight decay of AdamW, off for biases and layer norms.")


class Ia3:
    """Train scales and the head; the weights of the encoder stay as they are."""

    Options = Ia3Options
    tasks = frozenset(TASKS)
    pooling: Pooling | None = None

    def fit(self, job: Job, options: Ia3Options) -> Fitted:
        """Train the scales and the head; return the model of the best epoch with the scales merged."""
        return fit_adapted(job, options, lambda model, layers: _scaled(job, model, layers))


def _scaled(job: Job, model: "Classifier", layers: list[str]) -> "IA3Model":
    from peft import IA3Config, IA3Model

    attention = [name for name in layers if f".{name}".endswith(tuple(f".{each}" for each in _ATTENTION))]
    forward = [name for name in layers if _reads_neurons(model, name)]
    if not (attention and forward):
        lacking = "feed-forward layers" if attention else "keys and values"
        raise UserError(f"--method ia3 finds no {lacking} in {job.base.name}; use --method lora")
    scales = IA3Config(target_modules=[*attention, *forward], feedforward_modules=forward)
    return IA3Model(model, scales, "default")


def _reads_neurons(model: "Classifier", name: str) -> bool:
    """Return whether a linear layer makes a token's vector of its feed-forward neurons."""
    layer, config = model.get_submodule(name), model.config
    width = next((getattr(config, field) for field in _WIDTHS if hasattr(config, field)), None)
    outside = not {"attention", "attn"} & {*name.split(".")}
    return outside and (layer.in_features, layer.out_features) == (width, config.hidden_size)
