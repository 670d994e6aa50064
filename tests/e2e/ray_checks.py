"""Drives Ray Data in the environment of `make ray`: `ray_checks.py CHECK BUNDLE FOLDER`.

The bundle is the tiny one of conftest.py. `small-blocks ARGUMENTS` is the command `bertwire` with blocks of a few rows,
so that a job of some hundred rows has a middle.
"""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pyarrow
import pyarrow.parquet
import ray.data
from ray._private.node import Node
from ray.cluster_utils import Cluster

from bertwire_batch import ScoreConfig, score_file
from bertwire_batch.ray import score
from bertwire_batch.ray.places import place_of
from bertwire_cli.main import main

ROWS = 600
# Rows without a text that the model can read.
BAD = {7: None, 311: " "}
_BYTES = 200 << 20


def small_blocks() -> None:
    """Have Ray Data make blocks of about ten rows."""
    context = ray.data.DataContext.get_current()
    context.target_min_block_size, context.target_max_block_size = 1, 1000


def write_input(folder: Path) -> None:
    """Write three files of rows."""
    words = ("good", "bad", "the", "film", "was")
    texts = [" ".join(words[at % n] for n in (2, 3, 4, 5)) for at in range(ROWS)]
    table = pyarrow.table({"id": list(range(ROWS)), "text": [BAD.get(at, text) for at, text in enumerate(texts)]})
    folder.mkdir()
    for at in range(3):
        pyarrow.parquet.write_table(table.slice(at * 200, 200), folder / f"{at}.parquet")


@contextmanager
def two_nodes() -> Iterator[tuple[Cluster, Node]]:
    """A cluster of two nodes, to which this process is connected, and the node to lose.

    A job that goes on needs a CPU for Ray Data's filter beside those for the actor, for reading and for writing.
    """
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 4, "object_store_memory": _BYTES})
    try:
        node = cluster.add_node(num_cpus=2, object_store_memory=_BYTES)
        ray.init(cluster.address, log_to_driver=False)
        yield cluster, node
    finally:
        ray.shutdown()
        cluster.shutdown()


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait at most three minutes."""
    turn = Event()
    for _ in range(1800):
        if condition():
            return
        turn.wait(0.1)
    raise AssertionError("it did not happen")


def files(folder: Path) -> set[str]:
    """The whole files of a folder; Ray's pending checkpoints are none."""
    return {each.name for each in folder.rglob("*.parquet") if not each.name.endswith(".pending.parquet")}


def rows(folder: Path) -> list[dict[str, Any]]:
    """The rows of an output by id."""
    found: list[dict[str, Any]] = pyarrow.parquet.read_table(folder).to_pylist()
    return sorted(found, key=lambda row: int(row["id"]))


def check_rows(found: list[dict[str, Any]], bundle: Path, folder: Path) -> None:
    """Each row once, with the columns that `bertwire score` writes without Ray."""
    assert [row["id"] for row in found] == list(range(ROWS))
    if not (folder / "plain").exists():
        score_file(ScoreConfig(inputs=[folder / "input"], output=folder / "plain", bundle=bundle))
    plain = rows(folder / "plain")
    assert {at for at, row in enumerate(found) if row["predicted_error"]} == BAD.keys()
    for one, other in zip(found, plain, strict=True):
        assert abs((one.pop("predicted_score") or 0) - (other.pop("predicted_score") or 0)) < 1e-4
        assert one == other


def node_lost(node: Node, cluster: Cluster, bundle: Path, folder: Path) -> None:
    """A node that works is lost after the first file is written: no row is lost or doubled."""
    output, failed = folder / "lost", list[BaseException]()

    def job() -> None:
        try:
            score(ray.data.read_parquet(str(folder / "input")), bundle).write_parquet(str(output))
        except BaseException as error:
            failed.append(error)

    def busy() -> bool:
        left = ray._private.state.available_resources_per_node()[node.node_id]
        return bool(failed) or (bool(files(output)) and left.get("CPU", 0) < 2)

    running = Thread(target=job)
    running.start()
    wait_until(busy)
    before = files(output)
    cluster.remove_node(node, allow_graceful=False)
    running.join()
    assert not failed, failed
    assert before < files(output)
    check_rows(rows(output), bundle, folder)


def killed(cluster: Cluster, bundle: Path, folder: Path) -> None:
    """The same command after SIGKILL writes what is left, by Ray Data's checkpoints."""
    output, checkpoints = folder / "resumed", folder / "resumed.partial"
    command = ["score", f"file://{folder}/input", "--output", output, "--bundle", bundle, "--ray"]
    command += ["--ray-address", cluster.address, "--ray-id-column", "id"]
    begun = [sys.executable, __file__, "small-blocks", *map(str, command)]
    with subprocess.Popen(begun) as process:
        wait_until(lambda: process.poll() is not None or len(files(checkpoints)) > 2)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    done = files(checkpoints)
    other = subprocess.run([*begun, "--prefix", "x_"], capture_output=True, text=True, check=False)
    assert "unfinished run" in other.stderr, other.stderr
    again = subprocess.run(begun, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert f"{ROWS} rows, {len(BAD)} failed" in again.stderr
    assert done
    assert all(any(name.startswith(each[:-8]) for name in files(output)) for each in done)
    assert not checkpoints.exists()
    check_rows(rows(output), bundle, folder)


def check_data(bundle: Path, folder: Path) -> None:
    """A node is lost in the middle of a job, then the driver of another one."""
    assert place_of(Path("s3://bucket/a b")) == "s3://bucket/a b"
    assert place_of(Path(f"file://{folder}")) == str(folder)
    write_input(folder / "input")
    small_blocks()
    with two_nodes() as (cluster, node):
        node_lost(node, cluster, bundle, folder)
        killed(cluster, bundle, folder)


if __name__ == "__main__":
    if sys.argv[1] == "small-blocks":
        small_blocks()
        del sys.argv[1]
        main()
    else:
        globals()[f"check_{sys.argv[1]}"](Path(sys.argv[2]), Path(sys.argv[3]))
