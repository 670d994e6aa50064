"""A Ray data set with predictions added."""

from dataclasses import dataclass
from pathlib import Path

import ray.data

from bertwire_batch.bundle import InProcess
from bertwire_batch.columns import Form, choose_form
from bertwire_batch.ray.scorer import Scorer
from bertwire_batch.tally import Tally
from bertwire_core.errors import UserError
from bertwire_data.tables import require_new


@dataclass(frozen=True, slots=True)
class Scoring:
    """Settings of `score`.

    Attributes:
        text_column: column with the text.
        text_pair_column: column with the second text, for a model of text pairs; None: text_pair.
        prefix: what the names of the added columns begin with.
        all_scores: whether to add every label's score.
        threshold: least score of a predicted label; None: the model's own thresholds.
        batch_size: most rows that an actor is given at a time.
        min_actors: least actors in the pool, each of one CPU.
        max_actors: most actors; None: as many as the cluster has room for.
    """

    text_column: str = "text"
    text_pair_column: str | None = None
    prefix: str = "predicted_"
    all_scores: bool = False
    threshold: float | None = None
    batch_size: int = 32
    min_actors: int = 1
    max_actors: int | None = None


def score(dataset: "ray.data.Dataset", bundle: Path, scoring: Scoring = Scoring()) -> "ray.data.Dataset":
    """Return the data set with the columns that `bertwire score` adds; nothing runs until it is consumed.

    A row that fails has the reason in the column `error`, and no prediction.

    Args:
        dataset: rows with a text each.
        bundle: the bundle's folder, at the same path here and on every node.
        scoring: the settings.

    Raises:
        UserError: the bundle cannot be used, or the columns do not fit it.
    """
    engine = InProcess(bundle.absolute(), Tally(), threads=1)
    try:
        form = choose_form(scoring, engine.model)
    except ValueError as error:
        raise UserError(str(error)) from None
    _require_columns(dataset.columns() or [], form)
    return dataset.map_batches(
        Scorer,
        fn_constructor_args=(bundle.absolute(), engine.sha256, form, scoring.threshold),
        batch_size=scoring.batch_size,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(min_size=scoring.min_actors, max_size=scoring.max_actors),
        num_cpus=1,
    )


def _require_columns(columns: list[str], form: Form) -> None:
    for column in form.texts:
        if column not in columns:
            raise UserError(f"the data set has no column {column!r} but {', '.join(map(repr, columns))}")
    require_new(columns, form.added_columns())
