"""Splits of a hub dataset, or of a local folder of files or of `save_to_disk`, through `datasets`."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bertwire_core.errors import UserError, first_line
from bertwire_core.files import unicode_name
from bertwire_core.tasks import Task
from bertwire_data.labelled import Columns, Labelled, collect
from bertwire_data.tables import Batch

_BATCH_ROWS = 4096


def read_dataset(
    name: str,
    config: str | None,
    split: str,
    columns: Columns,
    task: Task | None = None,
    groups: Sequence[str] = (),
) -> Labelled:
    """Read the labelled rows of one split; ClassLabel numbers, alone or in lists, become their label names.

    Raises:
        UserError: the dataset, its configuration, its split or a column does not exist, or rows are faulty.
    """
    dataset = _load(name, config, split)
    source = f"{unicode_name(Path(name)) if Path(name).is_dir() else name}:{split}"
    shown = f"dataset {name}, split {split},"
    return collect(source, shown, lambda: _batches(dataset), columns, task, dataset.column_names, groups)


def _load(name: str, config: str | None, split: str) -> Any:  # noqa: ANN401 - datasets has no types
    import datasets  # type: ignore[import-untyped]
    from datasets.exceptions import DatasetsError  # type: ignore[import-untyped]

    datasets.disable_progress_bars()
    try:
        if _is_saved(Path(name)):
            return _split(name, datasets.load_from_disk(name), config, split)
        return datasets.load_dataset(name, config, split=split)
    except (OSError, ValueError, DatasetsError) as error:
        # While it converts files, `datasets` says only that it failed; the cause says why.
        cause = error.__cause__ if isinstance(error, DatasetsError) and error.__cause__ else error
        raise UserError(f"dataset {name}, split {split}, cannot be loaded: {first_line(cause)}") from error


def _is_saved(folder: Path) -> bool:
    """Return whether `save_to_disk` made the folder, of one dataset or of several splits."""
    return any((folder / name).is_file() for name in ("state.json", "dataset_dict.json"))


def _split(name: str, saved: Any, config: str | None, split: str) -> Any:  # noqa: ANN401 - datasets has no types
    if config is not None:
        raise UserError(f"dataset {name} was written by save_to_disk and has no configurations; leave {config!r} out")
    # A single dataset knows at most which split it was.
    splits = saved if isinstance(saved, dict) else {str(saved.split or split): saved}
    if split not in splits:
        raise UserError(f"dataset {name} has no split {split!r} but {', '.join(map(repr, splits))}")
    return splits[split]


def _batches(dataset: Any) -> Iterator[Batch]:  # noqa: ANN401 - datasets has no types
    names = {column: found for column, feature in dataset.features.items() if (found := _class_names(feature))}
    for start in range(0, len(dataset), _BATCH_ROWS):
        columns = dataset[start : start + _BATCH_ROWS]
        for column, known in names.items():
            columns[column] = [_named(known, value) for value in columns[column]]
        rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
        yield Batch(start + 1, rows, [None] * len(rows), None)


def _class_names(feature: Any) -> list[str] | None:  # noqa: ANN401 - datasets has no types
    return getattr(getattr(feature, "feature", feature), "names", None)


def _named(names: list[str], value: Any) -> Any:  # noqa: ANN401 - a number, None or a list of them
    if isinstance(value, list):
        return [_named(names, each) for each in value]
    # Datasets mark the rows of an unlabelled test split with -1.
    return names[value] if value is not None and value >= 0 else None
