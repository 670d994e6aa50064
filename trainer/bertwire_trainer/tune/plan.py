"""What a search searches: read and checked before PyTorch is loaded, which takes seconds."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bertwire_core.options import validated
from bertwire_core.tasks import Task
from bertwire_trainer.auto import Facts
from bertwire_trainer.base import hidden_size
from bertwire_trainer.config import TrainConfig
from bertwire_trainer.method import Scale
from bertwire_trainer.methods import METHODS
from bertwire_trainer.prepare import prepare
from bertwire_trainer.recipe import NOT_HOW, read_mapping, require_no_fault
from bertwire_trainer.tune.config import SearchConfig
from bertwire_trainer.tune.defaults import default_space
from bertwire_trainer.tune.space import Space, read_space


@dataclass(frozen=True, slots=True)
class Plan:
    """What is searched, on which rows.

    Attributes:
        task: the task of the rows.
        common: the options of `bertwire train` that all trials have in common.
        scale: what the defaults of the methods are chosen by.
        space: the options that are searched.
        fingerprint: what must be the same for a search to go on, JSON values by name.
    """

    task: Task
    common: dict[str, Any]
    scale: Scale
    space: Space
    fingerprint: dict[str, Any]


def make_plan(config: SearchConfig, trials: Path) -> Plan:
    """Read the rows and the space; print what the rows look like.

    Args:
        config: the settings.
        trials: the folder of the trials' checkpoints, empty or absent.

    Raises:
        UserError: the rows or the space are faulty.
    """
    common = config.run_options()
    prepared = prepare(validated(TrainConfig, common | {"output": trials / "0"}))
    data = prepared.data
    scale = Scale(rows=len(data.train), labels=len(data.labels), width=hidden_size(prepared.base))
    if config.space is None:
        raw = default_space(Facts.of(data.train), scale, {*config.model_fields_set})
        raw = {name: each for name, each in raw.items() if not _without_head(name, common, each)}
    else:
        raw = read_mapping(config.space)
    space, faults = read_space(raw)
    unfit = [each for each in space.methods if data.task not in METHODS[each].tasks]
    faults += [f"method: {each} is not for {data.task}" for each in unfit]
    headless = [name for name, each in space.methods.items() if _without_head(name, common, each)]
    faults += [f"method: {each} reads a pooled vector, and is not for --pooling own" for each in headless]
    require_no_fault(config.space or "space", faults)
    how = {name: value for name, value in common.items() if name not in NOT_HOW}
    rows = {name: data.splits()[name].sha256() for name in ("train", "dev")}
    return Plan(data.task, common, scale, space, rows | {"space": raw} | how)


def _without_head(method: str, common: dict[str, Any], searched: Mapping[str, Any]) -> bool:
    """Return whether every trial of a method would be refused, for it never has the architecture's own head."""
    return common["pooling"] == "own" and "pooling" not in searched and METHODS[method].pooling is not None
