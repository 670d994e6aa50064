"""What `bertwire add-class` can check and read before PyTorch is loaded, which takes seconds."""

from dataclasses import dataclass
from pathlib import Path

from bertwire_core.errors import UserError
from bertwire_core.files import output_path, require_absent, require_apart, require_own
from bertwire_data.labelled import Columns, Labelled, label_order, read_labelled
from bertwire_trainer.add_class.config import AddClassConfig
from bertwire_trainer.record import RECORD, TrainingRecord
from bertwire_trainer.tasks import SPECS
from bertwire_trainer.trained import read_record


@dataclass(frozen=True, slots=True)
class Prepared:
    """A checkpoint and what it is to learn.

    Attributes:
        config: the settings.
        output: the folder to write.
        record: the checkpoint's training.json.
        examples: rows of the new labels.
        labels: the new labels, in natural order.
        held_out: the checkpoint's rows of dev and test, as far as it has them.
    """

    config: AddClassConfig
    output: Path
    record: TrainingRecord
    examples: Labelled
    labels: list[str]
    held_out: dict[str, Labelled]


def prepare(config: AddClassConfig) -> Prepared:
    """Check the settings against the disk and read the rows.

    Raises:
        UserError: the checkpoint, the examples or the output does not allow it.
    """
    output = output_path(config.output)
    require_apart(output, config.checkpoint, config.examples)
    require_absent(output, overwrite=config.overwrite)
    require_own(output, {RECORD}, "checkpoint of bertwire train")
    record = read_record(config.checkpoint)
    if not SPECS[record.task].classes:
        raise UserError(f"{config.checkpoint} is for {record.task}, where texts have no classes; none can be added")
    examples = read_labelled(config.examples, config.columns, record.task)
    if examples.text_pairs != record.text_pairs:
        wanted = "pairs of texts" if record.text_pairs else "single texts"
        raise UserError(f"{config.examples}: the checkpoint reads {wanted}; see --text-pair-column")
    labels = label_order(examples.names(), record.task)
    if known := next((label for label in labels if label in record.labels), None):
        raise UserError(
            f"{config.examples} has label {known!r}, which the checkpoint knows; only new labels can be added: remove "
            "those rows, or train again with them"
        )
    return Prepared(config, output, record, examples, labels, _held_out(config.checkpoint, record))


def _held_out(checkpoint: Path, record: TrainingRecord) -> dict[str, Labelled]:
    files = {name: checkpoint / "predictions" / f"{name}.jsonl" for name in ("dev", "test")}
    return {name: read_labelled(path, Columns(), record.task) for name, path in files.items() if path.is_file()}
