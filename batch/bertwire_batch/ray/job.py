"""The job of `bertwire score --ray`: Parquet in, a folder of Parquet out."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pyarrow.dataset
import ray
import ray.data
from ray.data.checkpoint import CheckpointConfig
from ray.exceptions import RayError

from bertwire_batch.config import ScoreConfig
from bertwire_batch.ray.checkpoints import Checkpoints
from bertwire_batch.ray.places import Folder, place_of
from bertwire_batch.ray.scoring import Scoring, score
from bertwire_core.console import err
from bertwire_core.errors import UserError, first_line
from bertwire_runtime.cores import usable_cores

# CPUs that a job needs to go on: for Ray's filter of the rows that are written, for an actor, and to read and write.
_CPUS_TO_GO_ON = 3


@dataclass(frozen=True, slots=True)
class Written:
    """Rows of an output.

    Attributes:
        rows: all of them, those of an earlier run of the same command included.
        failed: those without a prediction.
    """

    rows: int
    failed: int


def score_by_ray(config: ScoreConfig) -> Written:
    """Score Parquet files by an actor pool; with an id column the same call goes on after a stop.

    Connects to the cluster that Ray finds, unless the process is connected already.

    Raises:
        UserError: the inputs, the output or the bundle do not fit, the cluster is not found, or the job failed.
    """
    assert config.bundle is not None  # noqa: S101 - --ray needs it
    output = Folder(place_of(config.output))
    checkpoints = None if config.ray_id_column is None else Checkpoints(config, config.ray_id_column)
    if output.files() and not (checkpoints and checkpoints.any):
        raise UserError(f"{output.place} exists already; choose another output")
    with _connected(config.ray_address), _readable():
        if checkpoints is not None and checkpoints.any:
            _tell_few_cpus()
        with _checkpointed(None if checkpoints is None else checkpoints.config):
            dataset = ray.data.read_parquet([place_of(path) for path in config.inputs])
            if config.ray_id_column not in (None, *(dataset.columns() or ())):
                raise UserError(f"the data set has no column {config.ray_id_column!r}; choose one by --ray-id-column")
            score(dataset, config.bundle, _scoring(config)).write_parquet(output.place)
        written = _written(output.place, config.prefix + "error")
        asked = ray.data.read_parquet([place_of(path) for path in config.inputs]).count()
        if written.rows != asked:
            raise UserError(
                f"{output.place} has {written.rows} of {asked} rows: ids in {config.ray_id_column!r} repeat, and Ray "
                "takes a row whose id is written for done; remove it, and score with a column of unique ids or without"
            )
        if checkpoints is not None:
            checkpoints.remove()
        return written


def _scoring(config: ScoreConfig) -> Scoring:
    return Scoring(
        text_column=config.text_column,
        text_pair_column=config.text_pair_column,
        prefix=config.prefix,
        all_scores=config.all_scores,
        threshold=config.threshold,
        batch_size=config.batch_size,
        min_actors=config.ray_min_actors,
        max_actors=config.ray_max_actors,
    )


@contextmanager
def _connected(address: str | None) -> Iterator[None]:
    """Connect to a cluster as Ray does: by the address, RAY_ADDRESS, one on this machine, or one that is started."""
    if ray.is_initialized():
        yield
        return
    # A cluster that is started here would report its use over the network.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        _connect(address)
    except (ConnectionError, ValueError) as error:
        raise UserError(f"Ray: {first_line(error)}") from None
    try:
        yield
    finally:
        ray.shutdown()


def _connect(address: str | None) -> None:
    if address or "RAY_ADDRESS" in os.environ:
        ray.init(address)
        return
    try:
        ray.init("auto")
    except ConnectionError:
        # On fewer cores its CPUs are slots that share them.
        ray.init(num_cpus=max(_CPUS_TO_GO_ON, usable_cores()), include_dashboard=False)


def _tell_few_cpus() -> None:
    cpus = ray.cluster_resources().get("CPU", 0)
    if cpus < _CPUS_TO_GO_ON:
        err.print(f"to go on Ray Data needs {_CPUS_TO_GO_ON} CPUs, and the cluster has {cpus:g}; it waits for more")


@contextmanager
def _readable() -> Iterator[None]:
    """Raise Ray's errors as one line."""
    try:
        yield
    except RayError as error:
        # The last line of a remote stack trace is the error itself.
        raise UserError(f"Ray: {str(error).strip().splitlines()[-1]}") from error
    except OSError as error:
        raise UserError(first_line(error)) from error


@contextmanager
def _checkpointed(config: CheckpointConfig | None) -> Iterator[None]:
    """Have data sets that are made in the block write checkpoints."""
    context = ray.data.DataContext.get_current()
    before, context.checkpoint_config = context.checkpoint_config, config
    try:
        yield
    finally:
        context.checkpoint_config = before


def _written(place: str, error: str) -> Written:
    files = Folder(place).files()
    if not files:
        return Written(0, 0)
    found = pyarrow.dataset.dataset(place, format="parquet")
    return Written(found.count_rows(), found.count_rows(filter=pyarrow.dataset.field(error).is_valid()))
