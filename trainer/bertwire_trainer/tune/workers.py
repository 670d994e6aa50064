"""The processes that run the trials of a search."""

import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import FrozenTrial

from bertwire_core.files import publish_folder
from bertwire_trainer.messages import note
from bertwire_trainer.quiet import quiet_libraries
from bertwire_trainer.tune.space import Space
from bertwire_trainer.tune.study import completed, opened

if TYPE_CHECKING:
    from multiprocessing.synchronize import Lock, Semaphore


@dataclass(frozen=True, slots=True)
class Search:
    """What the processes of a search have in common.

    Attributes:
        space: what is searched.
        common: the options of `bertwire train` that all trials have in common.
        output: the folder of the search.
        storage: the file of the study.
        workers: number of processes.
        deadline: when the search ends, in seconds of `time.time`; None: after its trials.
    """

    space: Space
    common: dict[str, Any]
    output: Path
    storage: Path
    workers: int
    deadline: float | None

    @property
    def trials(self) -> Path:
        """The folder of the trials' checkpoints while they run."""
        return self.output / "trials"

    @property
    def best(self) -> Path:
        """The checkpoint of the best trial."""
        return self.output / "best"


@dataclass(frozen=True, slots=True)
class Shared:
    """What the processes hold together: a ticket for each trial to run, and a lock on the best checkpoint."""

    tickets: "Semaphore"
    lock: "Lock"


def run_workers(search: Search, study: optuna.Study, trials: int, display: Callable[[], None]) -> None:
    """Run trials in this process and in `workers` - 1 others; call `display` after each trial and epoch of this one.

    Raises:
        KeyboardInterrupt: the user has interrupted it; the other processes are ended.
    """
    context = multiprocessing.get_context("spawn")
    shared = Shared(context.Semaphore(trials), context.Lock())
    others = [
        context.Process(target=_work, args=(search, shared, number), name=f"worker {number}")
        for number in range(1, min(search.workers, trials))
    ]
    with _ended(others):
        for each in others:
            each.start()
        _run(search, shared, study, display)
        for each in others:
            each.join()
            if each.exitcode:
                note(f"{each.name} ended with {each.exitcode}; the search went on without it")


@contextmanager
def _ended(processes: "list[Any]") -> Iterator[None]:
    """End those of the processes that still run when the block ends."""
    try:
        yield
    finally:
        for each in processes:
            if each.is_alive():
                each.terminate()
                each.join()


def _work(search: Search, shared: Shared, number: int) -> None:
    """Run trials in a process of its own, until there is none left to run."""
    # The process that has started this one is interrupted too, and ends it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    quiet_libraries()
    with opened(search.storage, search.output.name, search.common["seed"] + number) as study:
        _run(search, shared, study, lambda: None)


def _run(search: Search, shared: Shared, study: optuna.Study, display: Callable[[], None]) -> None:
    import torch

    from bertwire_trainer.tune.trials import Trials

    def keep(study: optuna.Study, trial: FrozenTrial) -> None:
        folder = search.trials / str(trial.number)
        with shared.lock:
            if folder.exists() and (found := completed(study)) and found[0].number == trial.number:
                publish_folder(folder, search.best, overwrite=True)
        shutil.rmtree(folder, ignore_errors=True)
        display()

    def stop(study: optuna.Study, _: FrozenTrial) -> None:
        parent = multiprocessing.parent_process()
        orphan = parent is not None and not parent.is_alive()
        late = search.deadline is not None and time.time() >= search.deadline
        if orphan or late or not shared.tickets.acquire(block=False):
            study.stop()

    if search.workers > 1:
        torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // search.workers))
    if shared.tickets.acquire(block=False):
        run_trial = Trials(search.space, search.common, search.trials, search.deadline, display)
        study.optimize(run_trial, catch=(Exception,), callbacks=[keep, stop], gc_after_trial=True)
