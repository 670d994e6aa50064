"""One trial of a search: a run of `bertwire train` in a folder of its own."""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna import Trial, TrialPruned
from optuna.trial import FrozenTrial

from bertwire_core.console import silenced
from bertwire_core.errors import first_line
from bertwire_core.files import partial_path
from bertwire_core.options import idle, validated
from bertwire_data.labelled import MAIN_METRIC
from bertwire_trainer.config import TrainConfig
from bertwire_trainer.method import Report
from bertwire_trainer.methods import METHODS
from bertwire_trainer.methods.options import set_by_user
from bertwire_trainer.prepare import prepare
from bertwire_trainer.recipe import NAME
from bertwire_trainer.record import TrainingRecord
from bertwire_trainer.train import train_model
from bertwire_trainer.tune.space import Space
from bertwire_trainer.tune.study import REASON, RECIPE, completed, score


@dataclass(frozen=True, slots=True)
class Trials:
    """What Optuna calls for each trial.

    Attributes:
        space: what is searched.
        common: the options of `bertwire train` that all trials have in common.
        folder: the folder of the trials' checkpoints.
        deadline: when the search ends, in seconds of `time.time`; None: after its trials.
        display: called after each epoch.
    """

    space: Space
    common: dict[str, Any]
    folder: Path
    deadline: float | None
    display: Callable[[], None]

    def __call__(self, trial: Trial) -> float:
        """Train, and return the score on dev; leave the checkpoint in the folder of the trial's number.

        The same options as of an earlier trial have its score: they would give the same weights.

        Raises:
            TrialPruned: the trial is worse than others after as many epochs, or the time is up.
        """
        options = self.space.suggest(trial)
        if twin := _twin(trial):
            trial.set_user_attr(RECIPE, twin.user_attrs[RECIPE])
            return score(twin)
        output = self.folder / str(trial.number)
        try:
            with silenced():
                given = _with_effect(self.common | options)
                config = validated(TrainConfig, given | {"output": output, "report": False})
                train_model(prepare(config), self._report(trial))
        except TrialPruned:
            raise
        except Exception as error:
            trial.set_user_attr(REASON, first_line(error))
            raise
        finally:
            shutil.rmtree(partial_path(output), ignore_errors=True)
        trial.set_user_attr(RECIPE, (output / NAME).read_text(encoding="utf-8"))
        record = TrainingRecord.model_validate_json((output / "training.json").read_bytes())
        return record.metrics["dev"][MAIN_METRIC[record.task]]

    def _report(self, trial: Trial) -> Report:
        reported = 0

        def report(epoch: int, value: float) -> None:
            nonlocal reported
            # A run that trains several times, such as a soup, begins with the first epoch again.
            if epoch <= reported:
                return
            reported = epoch
            trial.report(value, epoch)
            self.display()
            if trial.should_prune() or self._is_over(trial):
                raise TrialPruned

        return report

    def _is_over(self, trial: Trial) -> bool:
        """Return whether the time is up and there is a result without this trial."""
        return self.deadline is not None and time.time() >= self.deadline and bool(completed(trial.study))


def _with_effect(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options without those that the values of others leave without effect."""
    kind, given = METHODS[options["method"]].Options, set_by_user(options)
    own = {name: value for name, value in given.items() if name in kind.model_fields}
    without = {*idle(kind.model_construct(**own)), *idle(TrainConfig.model_construct(**given))}
    return {name: value for name, value in options.items() if name not in without}


def _twin(trial: Trial) -> FrozenTrial | None:
    return next((each for each in completed(trial.study) if each.params == trial.params), None)
