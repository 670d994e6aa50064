"""What a search ends with: a table, what mattered, a plot, and the recipe of the best trial."""

import shlex
import warnings
from pathlib import Path

import optuna
from optuna.trial import TrialState
from rich.table import Table
from rich.text import Text

from bertwire_core.console import out
from bertwire_core.errors import UserError
from bertwire_core.files import whole_file
from bertwire_trainer.messages import note, say
from bertwire_trainer.recipe import NAME
from bertwire_trainer.tune.display import options
from bertwire_trainer.tune.study import REASON, RECIPE, completed, finished, score

# Rows of the table.
_SHOWN = 10
# Completed trials from which on the importance of options is computed. Halved, it is that of single trials.
_FOR_IMPORTANCE = 10
# Importances that are printed, and the least. Halved, options are named that chance alone set apart.
_IMPORTANT, _LEAST_SHARE = 5, 0.01


def conclude(study: optuna.Study, output: Path, metric: str, given: list[str]) -> None:
    """Print the best trials and what mattered; write the best trial's recipe and the plot into `output`.

    Args:
        study: the study.
        output: the folder of the search.
        metric: the name of the score in print.
        given: the options of the rows, as a command line, with which the recipe is trained and tested.

    Raises:
        UserError: no trial has a score.
    """
    trials, best = finished(study), completed(study)
    if not best:
        reasons = [each.user_attrs[REASON] for each in trials if REASON in each.user_attrs]
        raise UserError(f"no trial came to a score{'; the last failed: ' + reasons[-1] if reasons else ''}")
    out.print(_table(study, metric))
    counts = {state: sum(each.state == state for each in trials) for state in (TrialState.PRUNED, TrialState.FAIL)}
    say(f"{len(trials)} trials: {counts[TrialState.PRUNED]} pruned, {counts[TrialState.FAIL]} failed")
    if important := _importance(study):
        say(f"what mattered: {important}")
    with whole_file(output / NAME) as file:
        file.write_text(best[0].user_attrs[RECIPE], encoding="utf-8")
    _plot(study, output / "history.png", metric)
    recipe = ["--recipe", str(output / NAME), *given, "--output", "CHECKPOINT"]
    say(f"to train it and score it on test: bertwire train {shlex.join(recipe)}")


def _table(study: optuna.Study, metric: str) -> Table:
    table = Table("trial", f"dev {metric}", "seconds", "options")
    for trial in completed(study)[:_SHOWN]:
        seconds = trial.duration.total_seconds() if trial.duration else 0.0
        table.add_row(*map(Text, (str(trial.number), f"{score(trial):.4f}", f"{seconds:.0f}", options(trial))))
    return table


def _importance(study: optuna.Study) -> str:
    """Return the shares of options in the variance of scores, the largest first; "" for few trials or equal scores."""
    scores = [score(trial) for trial in completed(study)]
    if len(scores) < _FOR_IMPORTANCE or len({*scores}) == 1:
        return ""
    with warnings.catch_warnings():
        # Of options of methods that have had few trials; their shares are small.
        warnings.simplefilter("ignore")
        shares = [*optuna.importance.get_param_importances(study).items()]
    return ", ".join(f"{name} {share:.0%}" for name, share in shares[:_IMPORTANT] if share >= _LEAST_SHARE)


def _plot(study: optuna.Study, path: Path, metric: str) -> None:
    """Draw the score of each trial, and the best so far."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        note(f"no {path.name}: it needs matplotlib, which comes with '.[report]'")
        return
    trials = sorted(completed(study), key=lambda trial: trial.number)
    numbers, scores = [trial.number for trial in trials], [score(trial) for trial in trials]
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.scatter(numbers, scores, label="trial")
    axes.step(numbers, [max(scores[: place + 1]) for place in range(len(scores))], where="post", label="best so far")
    axes.set(xlabel="trial", ylabel=f"{metric} on dev")
    axes.legend()
    with whole_file(path) as file:
        figure.savefig(file, format="png", dpi=120)
