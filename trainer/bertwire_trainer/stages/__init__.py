"""The table of stages, the outermost first. A stage imports PyTorch when it runs, so that its options are read fast."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from bertwire_trainer.stage import Fit, Stage
from bertwire_trainer.stages.abstain import Abstain
from bertwire_trainer.stages.adapt import Adapt
from bertwire_trainer.stages.augment import Augment
from bertwire_trainer.stages.continued import Continued
from bertwire_trainer.stages.prune import Prune
from bertwire_trainer.stages.self_train import SelfTrain

# What looks at the result is outermost; what changes the shapes of the weights comes before what copies or keeps them,
# and what changes the rows of train before what keeps something of each, as `self_train` does of every round's.
STAGES: dict[str, type[Stage[Any]]] = {
    "abstain": Abstain,
    "adapt": Adapt,
    "prune": Prune,
    "augment": Augment,
    "continued": Continued,
    "self_train": SelfTrain,
}


def staged(fit: Fit, stages: Mapping[str, Stage[Any]]) -> Fit:
    """Return `fit` with the stages around it, the first one outermost."""
    for stage in reversed([*stages.values()]):
        fit = partial(stage.run, fit=fit)
    return fit
