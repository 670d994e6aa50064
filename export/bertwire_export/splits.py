"""Read the labelled rows of an export: those that the training kept, or files of the user."""

from dataclasses import replace
from pathlib import Path
from typing import cast

from tokenizers import Tokenizer

from bertwire_core.errors import UserError
from bertwire_core.tasks import Task
from bertwire_data.labelled import Columns, read_labelled
from bertwire_export.checkpoint import Checkpoint
from bertwire_export.config import ExportConfig
from bertwire_export.examples import Examples, encode
from bertwire_export.rare import rare_texts
from bertwire_export.reference import Reference, make_reference, split_reference
from bertwire_export.serving_tokenizer import require_same_tokens
from bertwire_export.trained import held_out, recorded_logits, require_trained
from bertwire_export.unlabelled import read_unlabelled


def read_splits(config: ExportConfig, checkpoint: Checkpoint, tokenizer: Tokenizer) -> Reference:
    """Read the rows, prove that the checkpoint is the one that was trained, and get PyTorch's logits for them."""
    kept = {split: held_out(checkpoint.path, split) for split in ("dev", "test")}
    if config.dev is None and not kept["dev"].is_file():
        raise UserError(f"{kept['dev']} is missing; pass labelled rows with --dev")
    columns = Columns(config.text_column, config.text_pair_column, config.label_column)

    def read(path: Path, own: str | None) -> Examples:
        training = checkpoint.training
        task = cast(Task, training.task)  # of an encoder without labels no rows are read here
        labelled = read_labelled(path, Columns() if own else columns, task, config.sheet)
        if labelled.text_pairs != training.text_pairs:
            pairs = "pairs of texts; choose the second text with --text-pair-column"
            single = f"single texts; remove the column {labelled.columns.text_pair!r}"
            raise UserError(f"{path}: the model reads {pairs if training.text_pairs else single}")
        if own in training.data and training.data[own].sha256 == labelled.sha256():
            labelled = replace(labelled, source=training.data[own].source or labelled.source)
        examples = encode(tokenizer, labelled, training.labels, training.chunks)
        require_same_tokens(checkpoint, labelled.inputs, [chunks[0] for chunks in examples.chunks])
        return examples

    # All files before PyTorch, so that a wrong column is told at once.
    own = {split: read(path, split) for split, path in kept.items() if path.is_file()}
    given = {split: read(path, None) for split, path in (("dev", config.dev), ("test", config.test)) if path}
    found = {
        split: split_reference(checkpoint, each, recorded_logits(checkpoint, split, each))
        for split, each in own.items()
        # With --dev only --test is scored: the training's test rows need not be from the same source.
        if split == "dev" or not given
    }
    if "dev" in found:
        require_trained(checkpoint, found["dev"])
    found |= {split: split_reference(checkpoint, each, None) for split, each in given.items()}
    dev, test = found["dev"], found.get("test")
    unlabelled = read_unlabelled(config, checkpoint, tokenizer)
    rare = rare_texts(checkpoint, dev.examples.encodings)
    return make_reference(dev, test, rare, unlabelled, checkpoint.training.stages.abstain)
