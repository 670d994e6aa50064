"""Augmentation: train with changed copies of its rows beside them; dev and test stay as they are."""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

from bertwire_core.errors import UserError
from bertwire_core.files import unicode_name, whole_file
from bertwire_core.tasks import Task
from bertwire_trainer.masked import NoMaskedHead, load_masked
from bertwire_trainer.messages import note
from bertwire_trainer.method import Fitted, Job
from bertwire_trainer.stage import StageOptions
from bertwire_trainer.stages.augment.command import run_command, shown, split_command
from bertwire_trainer.stages.augment.options import AugmentOptions, Way
from bertwire_trainer.stages.augment.predicted import predict_words
from bertwire_trainer.stages.augment.words import delete, read_synonyms, substitute, swap
from bertwire_trainer.stages.rows import joined, with_train
from bertwire_trainer.tasks import SPECS

if TYPE_CHECKING:
    from bertwire_trainer.data import Data
    from bertwire_trainer.stage import Fit

Text = str | tuple[str, str]
# What makes of each text one changed text, which may be the same.
Rewrite = Callable[[list[str]], list[str]]


@dataclass(frozen=True, slots=True)
class Augment:
    """Augmentation of one run.

    Attributes:
        options: the options.
        synonyms: the synonyms of each word in lower case.
        command: the program and its arguments.
    """

    Options: ClassVar[type[StageOptions]] = AugmentOptions
    tasks: ClassVar[frozenset[Task]] = frozenset(task for task, spec in SPECS.items() if not spec.by_word)
    in_folds: ClassVar[bool] = True

    options: AugmentOptions
    synonyms: dict[str, list[str]]
    command: list[str]

    @classmethod
    def read(cls, options: AugmentOptions, data: "Data") -> Self:  # noqa: ARG003 - a stage's arguments
        """Read the synonyms and find the command."""
        options.require_complete()
        synonyms = {} if options.augment_synonyms is None else read_synonyms(options.augment_synonyms)
        command = [] if options.augment_command is None else split_command(options.augment_command)
        return cls(options, synonyms, command)

    def recorded(self) -> dict[str, Any]:
        """Return the options, the fingerprint of the synonyms, and the command without absolute paths."""
        recorded = self.options.recorded()
        if (path := self.options.augment_synonyms) is not None:
            digest = hashlib.sha256(json.dumps(self.synonyms, sort_keys=True).encode()).hexdigest()
            recorded["augment_synonyms"] = {"source": unicode_name(path), "sha256": digest}
        return recorded | ({"augment_command": shown(self.command)} if self.command else {})

    def run(self, job: Job, fit: "Fit") -> Fitted:
        """Train on the rows and their copies; those of an interrupted run are kept, for a command may give others."""
        kept, train = job.epochs / "augment" / "rows.jsonl", job.data.train
        if not kept.exists():
            _write(kept, self._copies(job))
        indices, texts = _read(kept, pairs=train.text_pairs)
        asked = len(train) * self.options.augment_copies * len(self.options.augment)
        if not texts:
            raise UserError(f"--augment made no text that is new of the {len(train)} of {train.source}; leave it out")
        note(f"augment: {len(texts)} rows beside the {len(train)} of train; {asked - len(texts)} copies were not new")
        copies = replace(train.take(indices), inputs=cast(Any, texts))
        return fit(with_train(job, joined(train, copies))).after("augment", {"rows": len(texts)})

    def _copies(self, job: Job) -> Iterator[tuple[int, Text]]:
        """Yield the number of a row of train and a changed copy of its text, for each copy that no split has."""
        train = job.data.train
        seen = {text for split in job.data.splits().values() for text in cast(list[Text], split.inputs)}
        flat = [side for text in cast(list[Text], train.inputs) for side in ([text] if isinstance(text, str) else text)]
        for way in self.options.augment:
            made = self._rewrite(way, job)(flat * self.options.augment_copies)
            copies: list[Text] = [*zip(made[::2], made[1::2], strict=True)] if train.text_pairs else [*made]
            for index, text in zip(cycle(range(len(train))), copies):
                if text not in seen:
                    seen.add(text)
                    yield index, text

    def _rewrite(self, way: Way, job: Job) -> Rewrite:
        share, random = self.options.augment_share, Random(f"{job.seed} {way}")  # noqa: S311 - no secret
        if way == Way.MASK:
            try:
                model = load_masked(job.base, job.tokenizer)
            except NoMaskedHead as error:
                raise UserError(f"--augment mask: {error}; choose another way or another --model") from error
            return lambda texts: predict_words(texts, model, job.tokenizer, share, random)
        one_by_one: dict[Way, Callable[[str], str]] = {
            Way.DELETE: lambda text: delete(text, share, random),
            Way.SWAP: lambda text: swap(text, share, random),
            Way.SYNONYMS: lambda text: substitute(text, self.synonyms, share, random),
        }
        if way in one_by_one:
            return lambda texts: [*map(one_by_one[way], texts)]
        return lambda texts: run_command(self.command, texts)


def _write(path: Path, copies: Iterator[tuple[int, Text]]) -> None:
    with whole_file(path) as file, file.open("w", encoding="utf-8") as lines:
        lines.writelines(json.dumps(each) + "\n" for each in copies)


def _read(path: Path, *, pairs: bool) -> tuple[list[int], list[Text]]:
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [index for index, _ in rows], [tuple(text) if pairs else text for _, text in rows]
