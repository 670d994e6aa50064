"""Gathers train, dev and test, and holds them to what training needs."""

from collections import Counter
from dataclasses import dataclass

from bertwire_client.errors import UserError
from bertwire_trainer.config import TrainConfig
from bertwire_trainer.hub import read_dataset
from bertwire_trainer.labels import label_order
from bertwire_trainer.rows import read_table
from bertwire_trainer.split import Split


@dataclass(frozen=True, slots=True)
class Data:
    """The labelled data of one run; `labels` are the names in id order."""

    labels: list[str]
    train: Split
    dev: Split
    test: Split | None

    def splits(self) -> dict[str, Split]:
        """The splits there are, by name."""
        return {"train": self.train, **self.held_out()}

    def held_out(self) -> dict[str, Split]:
        """Dev and, if there is one, test, by name."""
        return {"dev": self.dev} if self.test is None else {"dev": self.dev, "test": self.test}


def load_data(config: TrainConfig) -> Data:
    """Reads every split, cuts dev from train where none is given, and checks the labels.

    Raises:
        UserError: a file is faulty, train has fewer than two labels, or dev or test has a label that train lacks.
    """
    train, dev, test = _read(config)
    labels = label_order(train.labels)
    if len(labels) < 2:
        raise UserError(f"{train.source} has one label only, {labels[0]!r}; classification needs at least two")
    for split in (dev, test):
        if split is not None:
            _require_known(split, set(labels))
    if dev is None:
        train, dev = cut(train, config.dev_fraction, config.seed)
    return Data(labels, train, dev, test)


def _read(config: TrainConfig) -> tuple[Split, Split | None, Split | None]:
    columns = config.text_column, config.label_column
    if config.dataset is None:
        assert config.train is not None  # noqa: S101 - the configuration has one of both
        files = (config.dev, config.test)
        train = read_table(config.train, *columns)
        dev, test = (read_table(path, *columns) if path else None for path in files)
        return train, dev, test
    name, names = config.dataset, (config.dev_split, config.test_split)
    train = read_dataset(name, config.dataset_config, config.train_split, *columns)
    dev, test = (read_dataset(name, config.dataset_config, split, *columns) if split else None for split in names)
    return train, dev, test


def cut(train: Split, fraction: float, seed: int) -> tuple[Split, Split]:
    """Cuts `fraction` of the rows off as dev, with each label's share kept; both keep file order.

    Raises:
        UserError: a label has a single row, or either side would have fewer rows than there are labels.
    """
    from sklearn.model_selection import train_test_split

    counts = Counter(train.labels)
    if alone := [label for label, count in counts.items() if count < 2]:
        raise UserError(
            f"{train.source} has one row only of label {min(alone)!r}, too few to cut dev from; "
            "add rows of it or pass --dev"
        )
    size = max(round(len(train) * fraction), len(counts))
    if len(train) - size < len(counts):
        raise UserError(
            f"{train.source} has {len(train)} rows, too few to cut a dev split with all {len(counts)} labels; "
            "add rows, pass --dev or lower --dev-fraction"
        )
    kept, held = train_test_split(range(len(train)), test_size=size, stratify=train.labels, random_state=seed)
    return train.take(sorted(kept)), train.take(sorted(held))


def _require_known(split: Split, known: set[str]) -> None:
    unknown = [(row, label) for row, label in zip(split.rows, split.labels, strict=True) if label not in known]
    if unknown:
        row, label = unknown[0]
        others = len({label for _, label in unknown}) - 1
        also = f" (and {others} more such label{'s' * (others > 1)})" if others else ""
        raise UserError(
            f"{split.source} has label {label!r}{also}, which train lacks, in {len(unknown)} "
            f"row{'s' * (len(unknown) > 1)}, first in row {row}; add it to train or remove those rows"
        )
