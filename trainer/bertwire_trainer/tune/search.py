"""A search, from its rows to its best recipe."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from bertwire_core.console import progress
from bertwire_data.labelled import MAIN_METRIC
from bertwire_trainer.messages import metric_name, note
from bertwire_trainer.methods.options import flag
from bertwire_trainer.recipe import NOT_HOW
from bertwire_trainer.tune.config import SearchConfig
from bertwire_trainer.tune.display import Display
from bertwire_trainer.tune.plan import Plan
from bertwire_trainer.tune.study import completed, end_interrupted, finished, opened, require_same
from bertwire_trainer.tune.summary import conclude
from bertwire_trainer.tune.workers import Search, run_workers

if TYPE_CHECKING:
    import optuna


def search(config: SearchConfig, plan: Plan, output: Path, storage: Path) -> None:
    """Run the trials that are left, then print and write what came of all.

    Args:
        config: the settings.
        plan: what is searched.
        output: the folder of the search.
        storage: the file of the study.

    Raises:
        UserError: the study is of another search, or no trial has a score.
    """
    metric = metric_name(MAIN_METRIC[plan.task])
    with opened(storage, output.name, plan.common["seed"], anew=config.overwrite) as study:
        require_same(study, plan.fingerprint)
        end_interrupted(study)
        if not study.get_trials(deepcopy=False):
            for each in plan.space.starts(plan.scale):
                study.enqueue_trial(each)
        try:
            _run(config, plan, study, output, storage, metric)
        except KeyboardInterrupt:
            if completed(study):
                conclude(study, output, metric, _rows(config))
            note(f"interrupted; {len(finished(study))} trials are kept in {storage}: repeat the command to go on")
            raise
        conclude(study, output, metric, _rows(config))


def _run(config: SearchConfig, plan: Plan, study: "optuna.Study", output: Path, storage: Path, metric: str) -> None:
    deadline = None if config.minutes is None else time.time() + 60 * config.minutes
    search = Search(plan.space, plan.common, output, storage, config.workers, deadline)
    console = Console(stderr=True)
    with progress("tune", config.trials, console) as bar:
        display = Display(study, console, bar, metric, deadline)
        run_workers(search, study, max(0, config.trials - len(finished(study))), display)
        # Trials of other processes that ended after the last of this one.
        display()


def _rows(config: SearchConfig) -> list[str]:
    """Return the options that say which rows to train and test on, as a command line."""
    common = config.run_options()
    names = [name for name in common if name in NOT_HOW and name in config.model_fields_set]
    # A recipe has no absolute path.
    names += ["model"] if Path(common["model"]).is_absolute() else []
    test = ["--test", "TEST"] if common["dataset"] is None else ["--test-split", "TEST"]
    return [word for name in names for word in (flag(name), str(common[name]))] + test
