"""The command `bertwire tune`; Optuna, PyTorch and transformers are imported when it runs."""

import shutil
from pathlib import Path

from bertwire_core.console import err
from bertwire_core.errors import UserError
from bertwire_core.files import in_use, output_path
from bertwire_core.options import command
from bertwire_trainer import ranks
from bertwire_trainer.tune.config import SearchConfig, TuneConfig

# What a search leaves in its folder.
_OWN = {"best", "history.png", "recipe.yaml", "study.db", "trials"}


def run_tune(config: SearchConfig) -> None:
    """Search for the method and the options that are best on dev, and write the best recipe.

    Every trial is a run of `bertwire train`. Test is never read: score the recipe on it by a run of its own.
    """
    from bertwire_trainer.quiet import quiet_environment, quiet_libraries
    from bertwire_trainer.tune.plan import make_plan

    ranks.require_one("bertwire tune")
    quiet_environment()
    output = output_path(config.output).absolute()
    storage = output_path(config.storage or output / "study.db").absolute()
    _require_own(output, storage)
    with in_use(output), in_use(storage):
        shutil.rmtree(output / "trials", ignore_errors=True)
        plan = make_plan(config, output / "trials")
        with err.status("Loading PyTorch"):
            quiet_libraries()
            from bertwire_trainer.tune.search import search

        try:
            search(config, plan, output, storage)
        finally:
            shutil.rmtree(output / "trials", ignore_errors=True)


def _require_own(output: Path, storage: Path) -> None:
    """Raise `UserError` where the output has what no search writes, or the study lies in what a search replaces."""
    if output.exists() and not output.is_dir():
        raise UserError(f"{output} is a file; choose another --output")
    inside = storage.relative_to(output).parts[0] if output in storage.parents else "study.db"
    if inside in _OWN - {"study.db"}:
        raise UserError(f"--storage {storage}: every search replaces {output / inside}; choose another")
    # SQLite leaves a journal where a process was killed.
    own = {*_OWN, inside, f"{inside}-journal"}
    others = [each.name for each in output.glob("*") if each.name not in own and not each.name.startswith(".")]
    if others:
        raise UserError(f"{output} holds {min(others)}, which no search has written; choose another --output")


tune = command(TuneConfig, run_tune)
