"""Train, dev and test, checked for what training needs."""

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from bertwire_core.errors import UserError
from bertwire_core.tasks import Task
from bertwire_data.labelled import Labelled, encode_targets, label_order, plain, read_labelled
from bertwire_trainer.config import RunConfig
from bertwire_trainer.hub import read_dataset
from bertwire_trainer.messages import note
from bertwire_trainer.methods import METHODS
from bertwire_trainer.tasks import SPECS

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Data:
    """The labelled data of one run.

    Attributes:
        labels: label names in id order; for regression the name of the label column.
        train: rows to learn.
        dev: rows that choose the best epoch.
        test: rows that the finished checkpoint is scored on.
        targets: each split's targets as `encode_targets` gives them.
    """

    labels: list[str]
    train: Labelled
    dev: Labelled
    test: Labelled | None
    targets: "dict[str, NDArray[Any]]"

    @property
    def task(self) -> Task:
        """The task that the rows are labelled for."""
        return self.train.task

    def splits(self) -> dict[str, Labelled]:
        """Return the splits by name."""
        return {"train": self.train, **self.held_out()}

    def remarks(self) -> list[str]:
        """Return how the files were read, where that was found out and not said; one line each."""
        return _remarks(*self.splits().values())

    def held_out(self) -> dict[str, Labelled]:
        """Return dev and, if there is one, test, by name."""
        return {"dev": self.dev} if self.test is None else {"dev": self.dev, "test": self.test}


def load_data(config: RunConfig) -> Data:
    """Read every split, cut dev from train where none is given, and check the labels; print which task it is.

    Raises:
        UserError: a file is faulty, train has nothing to learn, dev or test has a label that train lacks, or the
            splits differ in their kind.
    """
    train, dev, test = _read(config)
    for remark in _remarks(train, dev, test):
        note(remark)
    if config.task is None and SPECS[train.task].noted:
        columns = f"{train.columns.text!r} and {train.columns.label!r}"
        note(f"{train.source}: columns {columns} look like {train.task}; --task chooses another")
    labels = _labels(train, config)
    for split in (dev, test):
        if split is not None:
            _require_same_kind(train, split)
            encode_targets(split, labels)
    if dev is None:
        train, dev = cut(train, config.dev_fraction, config.seed)
        train = replace(train, groups={})
    splits = {"train": train, "dev": dev} | ({} if test is None else {"test": test})
    return Data(labels, train, dev, test, {name: encode_targets(split, labels) for name, split in splits.items()})


def _remarks(*splits: Labelled | None) -> list[str]:
    return list(dict.fromkeys(remark for split in splits if split is not None for remark in split.remarks))


def read_train(config: RunConfig) -> Labelled:
    """Read train; raise `UserError` where the file is faulty."""
    if config.dataset is None:
        assert config.train is not None  # noqa: S101 - the configuration has one of both
        # Groups are those of dev, so of train only where dev is cut from it.
        groups = () if config.dev else config.trust.fairness_column
        return read_labelled(config.train, config.columns, config.task, config.sheet, groups)
    groups = () if config.dev_split else config.trust.fairness_column
    return read_dataset(config.dataset, config.dataset_config, config.train_split, config.columns, config.task, groups)


def _read(config: RunConfig) -> tuple[Labelled, Labelled | None, Labelled | None]:
    columns, train, groups = config.columns, read_train(config), config.trust.fairness_column
    if config.dataset is None:
        files = (config.dev, config.test)
        dev, test = (read_labelled(path, columns, train.task, config.sheet, groups) if path else None for path in files)
        return train, dev, test
    name, names = (config.dataset, config.dataset_config), (config.dev_split, config.test_split)
    dev, test = (read_dataset(*name, split, columns, train.task, groups) if split else None for split in names)
    return train, dev, test


def _labels(train: Labelled, config: RunConfig) -> list[str]:
    """Return the label names in id order: those of train, and those that the method's options or a stage name."""
    if (start := config.start) is not None:
        return [*dict.fromkeys([*start.labels, *label_order(train.names(), train.task)])]
    named = config.options.labels() if train.task in METHODS[config.method].tasks else []
    if new := sorted({*named} - {*train.names()}):
        note(f"labels without rows in {train.source}, added by their descriptions: {', '.join(new)}")
    labels = label_order([*train.names(), *named], train.task) if named else []
    return labels if len(labels) > 1 else SPECS[train.task].labels(train)


def _require_same_kind(train: Labelled, split: Labelled) -> None:
    if train.text_pairs != split.text_pairs:
        one, other = ("pairs of texts", "single texts") if train.text_pairs else ("single texts", "pairs of texts")
        raise UserError(f"{train.source} has {one} and {split.source} {other}; see --text-pair-column")


def cut(train: Labelled, fraction: float, seed: int) -> tuple[Labelled, Labelled]:
    """Return train without, and dev with, `fraction` of the rows, chosen by `seed`; both keep file order.

    With one label for each text each label keeps its share, and both have a row of each.

    Raises:
        UserError: a label has a single row, or either side would have too few rows.
    """
    from sklearn.model_selection import train_test_split

    counts: Counter[str] = Counter(train.names()) if SPECS[train.task].stratified else Counter()
    if (alone := min((label for label, count in counts.items() if count < 2), default=None)) is not None:
        others = [repr(each) for each in counts if each != alone and plain(each) == plain(alone)]
        hint = f"correct it if {others[0]} is meant, which differs by case or space alone, " if others else ""
        raise UserError(
            f"{train.source} has one row only of label {alone!r}, too few to cut dev from; "
            f"{hint}add rows of it or pass --dev"
        )
    # Two rows are the fewest that correlate.
    least = len(counts) or 2
    size = max(round(len(train) * fraction), least)
    if len(train) - size < least:
        what = f"a dev split with all {least} labels" if counts else "a dev split"
        raise UserError(
            f"{train.source} has {len(train)} rows, too few to cut {what}; add rows, pass --dev or lower --dev-fraction"
        )
    stratify = train.targets if counts else None
    kept, held = train_test_split(range(len(train)), test_size=size, stratify=stratify, random_state=seed)
    return train.take(sorted(kept)), train.take(sorted(held))
