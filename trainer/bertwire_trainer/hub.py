"""Reads splits of a hub dataset, or of a local dataset folder, through `datasets`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bertwire_client.errors import UserError
from bertwire_client.tables import Batch
from bertwire_trainer.rows import collect
from bertwire_trainer.split import Split

_BATCH_ROWS = 4096


def read_dataset(name: str, config: str | None, split: str, text_column: str, label_column: str) -> Split:
    """Reads the texts and labels of one split; ClassLabel numbers become their label names.

    Raises:
        UserError: the dataset, its configuration, its split or a column does not exist, or rows are faulty.
    """
    dataset = _load(name, config, split)
    missing = [column for column in (text_column, label_column) if column not in dataset.column_names]
    if missing:
        raise UserError(
            f"dataset {name} has no column {missing[0]!r}; it has {', '.join(map(repr, dataset.column_names))}: "
            "choose with --text-column and --label-column"
        )
    source = f"{Path(name).name if Path(name).is_dir() else name}:{split}"
    return collect(source, f"dataset {name}, split {split}", _batches(dataset, label_column), text_column, label_column)


def _load(name: str, config: str | None, split: str) -> Any:  # noqa: ANN401 - datasets has no types
    import datasets  # type: ignore[import-untyped]

    try:
        return datasets.load_dataset(name, config, split=split)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"dataset {name}, split {split}, cannot be loaded: {reason}") from error


def _batches(dataset: Any, label_column: str) -> Iterator[Batch]:  # noqa: ANN401 - datasets has no types
    names = getattr(dataset.features[label_column], "names", None)
    for start in range(0, len(dataset), _BATCH_ROWS):
        columns = dataset[start : start + _BATCH_ROWS]
        rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
        if names:
            rows = [row | {label_column: _class_name(names, row[label_column])} for row in rows]
        yield Batch(start + 1, rows, [None] * len(rows), None)


def _class_name(names: list[str], value: int | None) -> str | None:
    # Datasets mark the rows of an unlabelled test split with -1.
    return names[value] if value is not None and value >= 0 else None
