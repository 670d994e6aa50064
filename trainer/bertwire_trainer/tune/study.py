"""The Optuna study of a search, in an SQLite file."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from optuna.trial import FrozenTrial, TrialState

from bertwire_core.errors import UserError, first_line

# Seconds that a process waits for another's write. Halved, nothing breaks on a local disk; below a second, a worker can
# fail beside another that commits.
_LOCK_SECONDS = 60
# Completed trials before one is pruned, and the first epoch after which it can be. Halved, a trial is stopped for being
# worse than one other, or after an epoch of warm-up.
_STARTUP_TRIALS, _FIRST_EPOCH = 4, 2
# User attribute of a study: what it searches, as JSON.
_SEARCH = "search"
# User attributes of a trial: why it failed, and its recipe as YAML.
REASON, RECIPE = "reason", "recipe"

optuna.logging.set_verbosity(optuna.logging.CRITICAL)


@contextmanager
def opened(path: Path, name: str, seed: int, *, anew: bool = False) -> Iterator[optuna.Study]:
    """Yield a study.

    Args:
        path: the SQLite file.
        name: the study, which is made where there is none.
        seed: of the sampler.
        anew: throw away what the study has.

    Raises:
        UserError: the file is no SQLite database, or cannot be written.
    """
    url = sqlalchemy.URL.create("sqlite", database=str(path)).render_as_string()
    try:
        storage = optuna.storages.RDBStorage(url, engine_kwargs={"connect_args": {"timeout": _LOCK_SECONDS}})
        if anew and name in optuna.get_all_study_names(storage):
            optuna.delete_study(study_name=name, storage=storage)
        pruner = optuna.pruners.MedianPruner(_STARTUP_TRIALS, _FIRST_EPOCH)
        study = optuna.create_study(
            storage=storage, study_name=name, direction="maximize", pruner=pruner, load_if_exists=True
        )
    except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        raise UserError(f"--storage {path} cannot be used: {first_line(error)}") from error
    # A study that goes on would draw with the same seed what it drew first.
    study.sampler = optuna.samplers.TPESampler(seed=seed + len(study.get_trials(deepcopy=False)))
    try:
        yield study
    finally:
        storage.remove_session()
        storage.engine.dispose()


def require_same(study: optuna.Study, search: dict[str, Any]) -> None:
    """Record what a study searches; raise `UserError` where it was begun with something else.

    Args:
        study: the study.
        search: JSON values by name.
    """
    now = json.loads(json.dumps(search))
    before = json.loads(study.user_attrs.get(_SEARCH, "null"))
    if before is None:
        study.set_user_attr(_SEARCH, json.dumps(now))
    elif changed := [name for name in before | now if before.get(name) != now.get(name)]:
        raise UserError(
            f"search {study.study_name} was begun with other {', '.join(changed)}; repeat that command to go on, or "
            "start over with --overwrite"
        )


def end_interrupted(study: optuna.Study) -> None:
    """Mark the trials as failed that a process left running when it was killed."""
    for trial in study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
        study.tell(trial.number, state=TrialState.FAIL)


def finished(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials that ran to an end of their own: completed, pruned, or failed for a reason; not interrupted."""
    ended = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
    trials = study.get_trials(deepcopy=False, states=ended)
    return [each for each in trials if each.state != TrialState.FAIL or REASON in each.user_attrs]


def completed(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials that have a score, the best first; of the same score the first one first."""
    trials = study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
    return sorted(trials, key=lambda trial: (-score(trial), trial.number))


def score(trial: FrozenTrial) -> float:
    """Return the score of a completed trial."""
    assert trial.value is not None  # noqa: S101 - it is completed
    return trial.value
