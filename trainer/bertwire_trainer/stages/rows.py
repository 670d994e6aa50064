"""Other rows to learn than those of the user."""

from dataclasses import replace
from typing import Any, cast

from bertwire_data.labelled import Labelled, encode_targets
from bertwire_trainer.method import Job


def with_train(job: Job, train: Labelled) -> Job:
    """Return the job with other rows to learn; dev and test stay as they are."""
    from bertwire_trainer.tokens import tokenize

    targets = encode_targets(train, job.data.labels)
    data = replace(job.data, train=train, targets=job.data.targets | {"train": targets})
    return replace(job, data=data, tokens=job.tokens | {"train": tokenize(job.model, job.tokenizer, train, targets)})


def unlabelled(train: Labelled, inputs: list[Any]) -> Labelled:
    """Return rows of the kind of `train` whose targets stand for none: those of its first row."""
    return replace(
        train,
        inputs=inputs,
        targets=cast(Any, [*train.targets[:1]] * len(inputs)),
        rows=[*range(1, len(inputs) + 1)],
    )


def joined(train: Labelled, more: Labelled) -> Labelled:
    """Return the rows of `train` with more of the same kind after them."""
    return replace(
        train,
        inputs=cast(Any, [*train.inputs, *more.inputs]),
        targets=cast(Any, [*train.targets, *more.targets]),
        rows=[*train.rows, *more.rows],
    )
