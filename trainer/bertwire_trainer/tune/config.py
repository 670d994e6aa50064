"""The settings of `bertwire tune`."""

from pathlib import Path
from typing import Any

from pydantic import Field, create_model

from bertwire_core.options import Config
from bertwire_trainer.config import RunConfig

# Options of `bertwire train` that a search chooses itself, or that it has not. Test is among them: a score by which
# something is chosen is no test.
_OF_ONE_RUN = {"test", "test_split", "output", "overwrite", "resume", "recipe", "report", "method"}


class SearchConfig(Config):
    """How long and where to search, and among what."""

    output: Path = Field(
        description="Folder of the search: the study, and recipe and checkpoint of the best trial. The same command "
        "again goes on with what is there."
    )
    overwrite: bool = Field(False, description="Throw away an earlier search of OUTPUT and start over.")
    storage: Path | None = Field(None, description="SQLite file of the Optuna study. Unset: study.db in OUTPUT.")
    trials: int = Field(30, ge=1, description="Trials in all, those of earlier commands included.")
    minutes: float | None = Field(
        None, gt=0, description="Stop after this time; a trial that has an epoch more to go is then pruned."
    )
    workers: int = Field(1, ge=1, description="Processes that run trials at the same time; they share the cores.")
    space: Path | None = Field(
        None,
        description="YAML file of what to search: each option by its name, with a list of values or low, high and log. "
        "Unset: methods, learning rate, epochs, pooling and more, by what train has.",
    )

    def run_options(self) -> dict[str, Any]:
        """Return the options of `bertwire train` that all trials have in common."""
        return self.model_dump(include={*RunConfig.model_fields} - _OF_ONE_RUN)


def _of_train() -> dict[str, Any]:
    """Return the options of `bertwire train` that every method has, for pydantic's `create_model`."""
    fields = RunConfig.model_fields
    return {name: (field.annotation, field) for name, field in fields.items() if name not in _OF_ONE_RUN}


TuneConfig: type[SearchConfig] = create_model("TuneConfig", __base__=SearchConfig, **_of_train())
