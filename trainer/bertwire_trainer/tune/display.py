"""What a search prints while it runs: a line for each trial, and a bar."""

import time
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console

from bertwire_core.console import Bar
from bertwire_trainer.tune.study import REASON, completed, finished, score


class Display:
    """The lines and the bar of a search.

    Printing of the trials themselves is off while they run, so that it has a console of its own.
    """

    def __init__(self, study: optuna.Study, console: Console, bar: Bar, metric: str, deadline: float | None) -> None:
        """Show `study`, whose scores are of `metric`, until `deadline`, in seconds of `time.time`."""
        self._study, self._console, self._bar = study, console, bar
        self._metric, self._deadline = metric, deadline
        self._shown = {trial.number for trial in finished(study)}

    def __call__(self) -> None:
        """Print the trials that have finished since the last call, of all processes, and move the bar on."""
        trials = finished(self._study)
        for trial in trials:
            if trial.number not in self._shown:
                self._shown.add(trial.number)
                line = f"trial {trial.number}: {self._ended(trial)}; {options(trial)}"
                self._console.print(line, markup=False, highlight=False, soft_wrap=True)
        self._bar(len(trials), self._note())

    def _ended(self, trial: FrozenTrial) -> str:
        if trial.state == TrialState.FAIL:
            return f"failed, {trial.user_attrs[REASON]}"
        if trial.state == TrialState.PRUNED:
            last = trial.last_step
            return f"pruned after epoch {last}, {self._metric} {trial.intermediate_values[last or 0]:.4f}"
        return f"{self._metric} {score(trial):.4f}"

    def _note(self) -> str:
        best = completed(self._study)[:1]
        parts = [f"best {self._metric} {score(each):.4f} of trial {each.number}" for each in best]
        if self._deadline is not None:
            parts.append(f"{max(0.0, self._deadline - time.time()) / 60:.0f} min left")
        return ", ".join(parts)


def options(trial: FrozenTrial) -> str:
    """Return the options of a trial in one line, the method first."""
    method = str(trial.params.get("method"))
    own = {name.removeprefix(f"{method}."): value for name, value in trial.params.items() if name != "method"}
    return ", ".join([method, *(f"{name} {_shown(value)}" for name, value in own.items())])


def _shown(value: Any) -> str:  # noqa: ANN401 - an option's value
    return f"{value:.3g}" if isinstance(value, float) else "unset" if value is None else str(value)
