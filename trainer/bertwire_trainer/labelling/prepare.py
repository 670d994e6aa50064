"""What `bertwire label-next` can check and read before PyTorch is loaded, which takes seconds."""

import random
from dataclasses import dataclass
from pathlib import Path

from bertwire_core.errors import UserError
from bertwire_core.files import require_absent
from bertwire_trainer.base import Base, find_base
from bertwire_trainer.labelling.config import LabelNextConfig
from bertwire_trainer.labelling.pool import Pool, read_pool
from bertwire_trainer.labelling.rounds import Round, read_round, read_rounds


@dataclass(frozen=True, slots=True)
class Prepared:
    """Texts to choose from, and by what.

    Attributes:
        config: the settings.
        base: the checkpoint, or the encoder before there is one.
        rounds: checkpoints by rows, the one to choose by last; empty where there is none yet.
        pool: the unlabelled texts in random order, none twice, at most as many as the settings allow.
        unlabelled: how many unlabelled texts the file has.
        labelled: the labelled rows' texts.
    """

    config: LabelNextConfig
    base: Base
    rounds: list[Round]
    pool: Pool
    unlabelled: int
    labelled: list[Pool]


def prepare(config: LabelNextConfig) -> Prepared:
    """Check the settings against the disk and read the texts.

    Raises:
        UserError: a file, a column, the checkpoint or the output does not allow it, or every text is labelled.
    """
    require_absent(config.output, overwrite=config.overwrite)
    base = find_base(config.model)
    rounds = _rounds(config, base)
    task, pairs = (rounds[-1].record.task, rounds[-1].record.text_pairs) if rounds else (None, None)
    whole = read_pool(config.input, config.columns, task, pairs)
    kind = (whole.read.task, whole.read.text_pairs)
    labelled = [read_pool(path, config.columns, *kind, written=True) for path in config.labelled]
    left = whole.without({key for each in labelled for key in each.spellings()})
    if not len(left):
        raise UserError(f"{config.input} has no text that is not labelled; there is nothing to choose from")
    drawn = random.Random(config.seed).sample(range(len(left)), min(len(left), config.sample))  # noqa: S311 - no secret
    return Prepared(config, base, rounds, left.take(drawn), len(left), labelled)


def _rounds(config: LabelNextConfig, base: Base) -> list[Round]:
    folder = Path(base.location)
    if not (base.local and (folder / "training.json").is_file()):
        if config.rounds is not None:
            raise UserError(
                f"--rounds needs the last round's checkpoint as --model; {config.model} is none of bertwire train"
            )
        return []
    last = read_round(folder)
    return [last] if config.rounds is None else read_rounds(config.rounds, last)
