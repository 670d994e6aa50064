"""Prototypical networks: a class is the mean of its texts' vectors; episodes teach the encoder to give good means."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from bertwire_core.errors import UserError
from bertwire_core.files import unicode_name
from bertwire_core.options import needs
from bertwire_core.pooling import Pooling
from bertwire_data.labelled import Labelled, encode_targets, label_order, read_labelled
from bertwire_trainer.method import Fitted, Job
from bertwire_trainer.methods.classes import WITH_CLASSES, ClassOptions
from bertwire_trainer.overlaps import apart

if TYPE_CHECKING:
    from bertwire_core.pooled import PooledClassifier
    from bertwire_trainer.data import Data


class PrototypesOptions(ClassOptions):
    """What the encoder learns from before it gives the prototypes."""

    method = "prototypes"

    episodes: int = Field(
        200, ge=0, description="Episodes that train the encoder, each a step; 0: the encoder as it is gives prototypes."
    )
    ways: int = Field(5, ge=2, json_schema_extra=needs("episodes"), description="Classes of an episode.")
    shots: int = Field(
        5,
        ge=1,
        json_schema_extra=needs("episodes"),
        description="Texts of a class that make its prototype in an episode.",
    )
    queries: int = Field(
        5, ge=1, json_schema_extra=needs("episodes"), description="Texts of a class to recognize in an episode."
    )
    learning_rate: float = Field(
        2e-5,
        gt=0,
        json_schema_extra=needs("episodes"),
        description="Peak learning rate of AdamW; it decays linearly to 0.",
    )
    task_files: list[Path] = Field(
        [],
        json_schema_extra=needs("episodes"),
        description="Labelled rows of another task, to draw episodes from in place of train: CSV, TSV, JSONL or "
        "Parquet with the columns of train; once for each file.",
    )

    def require_data(self, data: "Data") -> None:
        """Raise `UserError` where episodes cannot be drawn from train or from a task file."""
        for task in self.tasks(data, "prototypes") if self.episodes else ():
            names = [*task.names()]
            if len(set(names)) < 2 or len(set(names)) == len(names):
                raise UserError(
                    f"{task.source} gives no episodes: they need two classes, one of them with two texts; add rows, or "
                    "use the encoder as it is with --episodes 0"
                )

    def require_folds(self) -> None:
        """Refuse other tasks, whose texts that a fold is scored on cannot be left out."""
        if self.task_files:
            raise UserError("--folds would score rows that --task-files may hold too; leave out one of both")

    def tasks(self, data: "Data", title: str | None = None) -> list[Labelled]:
        """Return the labelled tasks that episodes are drawn from, without texts of dev and test; see `apart`."""
        if not self.task_files:
            return [data.train]
        tasks = [read_labelled(path, data.train.columns, data.task) for path in self.task_files]
        if other := next((task for task in tasks if task.text_pairs != data.train.text_pairs), None):
            one = "pairs of texts" if other.text_pairs else "single texts"
            raise UserError(f"{other.source} has {one}, and {data.train.source} has not; see --text-pair-column")
        return [apart(task, data, title) for task in tasks]

    def recorded(self) -> dict[str, Any]:
        """Return the options; of each file its name and the SHA-256 of its bytes."""
        files = [
            {"source": unicode_name(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
            for path in self.task_files
        ]
        return super().recorded() | {"task_files": files}


class Prototypes:
    """Train the encoder by episodes; then the mean vector of each class is its row of the linear layer."""

    Options = PrototypesOptions
    tasks = WITH_CLASSES
    pooling: Pooling | None = Pooling("mean", normalize=True)

    def fit(self, job: Job, options: PrototypesOptions) -> Fitted:
        """Train the encoder, and set the linear layer to the prototypes of train."""
        import torch

        from bertwire_trainer.cosine import class_means, set_cosine_head
        from bertwire_trainer.predict import embed

        model: PooledClassifier = job.model  # type: ignore[assignment]  # a method with a pooling gets this one
        episode = _meta_trained(job, model, options) if options.episodes else 0
        model.to("cuda" if torch.cuda.is_available() else "cpu")
        (vectors,) = embed(model, job.tokenizer, job.tokens["train"], "embed train")
        prototypes = class_means(vectors, job.data.targets["train"], len(job.data.labels))
        scale = set_cosine_head(job, model, prototypes)
        return Fitted(model.to("cpu"), job.tokenizer, None, chosen={"episode": episode, "scale": scale})


def _meta_trained(job: Job, model: "PooledClassifier", options: PrototypesOptions) -> int:
    """Train the encoder by episodes, and return the number of the one that it is kept of."""
    from bertwire_trainer.meta.episodes import Episodes, Shape
    from bertwire_trainer.meta.loop import train_episodes
    from bertwire_trainer.tokens import tokenize

    tasks = [
        tokenize(model, job.tokenizer, task, encode_targets(task, label_order(task.names(), task.task)))
        for task in options.tasks(job.data)
    ]
    shape = Shape(options.ways, options.shots, options.queries)
    return train_episodes(job, model, Episodes(tasks, shape, options.episodes, job.seed), options.learning_rate)
