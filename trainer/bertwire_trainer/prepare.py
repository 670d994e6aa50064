"""Everything that can be checked before PyTorch is loaded, which takes seconds."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bertwire_core.errors import UserError
from bertwire_core.files import partial_path, require_absent, require_own
from bertwire_data.labelled import oddities
from bertwire_trainer import ranks
from bertwire_trainer.auto import settled
from bertwire_trainer.base import Base, find_base
from bertwire_trainer.config import RunConfig, require_applicable
from bertwire_trainer.data import Data, load_data
from bertwire_trainer.loop.options import LoopOptions
from bertwire_trainer.messages import note, warn
from bertwire_trainer.method import MethodOptions
from bertwire_trainer.methods.options import flag
from bertwire_trainer.overlaps import overlaps
from bertwire_trainer.partial import Partial
from bertwire_trainer.record import RECORD
from bertwire_trainer.stage import Stage
from bertwire_trainer.stages import STAGES
from bertwire_trainer.trust.examine import require_measurable


@dataclass(frozen=True, slots=True)
class Prepared:
    """A run whose settings and rows are checked.

    Attributes:
        config: the settings.
        options: the options of the method.
        stages: the stages to run around the method, by name, the outermost first.
        output: the checkpoint folder to write, absolute.
        partial: the folder of the run until the checkpoint is published.
        base: the checkpoint to start from.
        data: the labelled rows.
        remarks: how they were read and what is odd about them, one line each.
        begun: when the command began, in seconds of `time.perf_counter`.
    """

    config: RunConfig
    options: MethodOptions
    stages: dict[str, Stage[Any]]
    output: Path
    partial: Partial
    base: Base
    data: Data
    remarks: list[str]
    begun: float


def prepare(config: RunConfig) -> Prepared:
    """Check the settings against the disk and read the rows; print what they look like and what is odd about them.

    Raises:
        UserError: the input, the base checkpoint or the output does not allow the run.
    """
    begun = time.perf_counter()
    config, chosen = settled(config)
    options, asked = config.options, config.stages
    if not isinstance(options, LoopOptions):
        ranks.require_one(f"--method {config.method}")
    for stage in asked:
        ranks.require_one(flag(stage))
    if config.task is not None:
        require_applicable(config, config.task)
    output = place(config)
    partial = Partial(partial_path(output))
    if ranks.is_first():
        partial.require_consent(resume=config.resume, overwrite=config.overwrite)
    if config.resume and not partial.path.exists():
        note(f"no interrupted run at {partial.path}: training from the start")
    base = find_base(_model(config))
    for line in chosen:
        note(line)
    data = load_data(config)
    require_applicable(config, data.task)
    options.require_data(data)
    require_measurable(config.trust, data, config.seed, options)
    if config.chunks > 1 and data.train.text_pairs:
        raise UserError("--chunks is for single texts; these rows have pairs")
    warnings = [*oddities(data.train, "train"), *overlaps(data)]
    warn(warnings)
    stages = {name: STAGES[name].read(each, data) for name, each in asked.items()}
    return Prepared(config, options, stages, output, partial, base, data, [*chosen, *data.remarks(), *warnings], begun)


def _model(config: RunConfig) -> str:
    """Return the checkpoint to start from: that of `--model`, or what a stage puts in its place."""
    if (start := config.start) is None:
        return config.model
    if config.model != RunConfig.model_fields["model"].default:
        raise UserError(f"--model {config.model}: the run goes on from {start.checkpoint}; leave out one of both")
    if (start.max_length, start.truncation_side) != (config.max_length, config.truncation_side):
        raise UserError(
            f"{start.checkpoint} reads {start.max_length} tokens and cuts on the {start.truncation_side}; go on with "
            f"--max-length {start.max_length} --truncation-side {start.truncation_side}"
        )
    if config.pooling is not None or config.pooler or config.normalize:
        raise UserError(
            f"--pooling, --pooler, --normalize: the head of {start.checkpoint} stays as it is; leave them out"
        )
    return str(start.checkpoint)


def place(config: RunConfig) -> Path:
    """Return the checkpoint folder to write, absolute; raise `UserError` where it cannot be written there."""
    try:
        output = config.output.expanduser().absolute()
    except RuntimeError as error:  # ~name, where there is no such user
        raise UserError(f"--output {config.output}: there is no such home folder") from error
    if (here := Path.cwd()) == output.resolve() or output.resolve() in here.parents:
        raise UserError(f"--output {config.output} holds the folder you are in; choose a folder of its own")
    require_absent(output, overwrite=config.overwrite)
    if output.exists() and not output.is_dir():
        raise UserError(f"{output} is a file; choose another --output")
    require_own(output, {RECORD}, "checkpoint of bertwire train")
    return output
