"""The processes of a measurement, each on its core: the server, and in turn raw ONNX Runtime or the client."""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.figures import Figures
from bench.sides import Side
from bench.timeline import Timeline
from bertwire_core.errors import UserError

_CORES = sorted(os.sched_getaffinity(0))
# The server and raw ONNX Runtime take turns on one core; the client has another, where there are two.
SERVER_CORE, CLIENT_CORE = _CORES[0], _CORES[-1]


@dataclass(frozen=True)
class Server:
    """A running server.

    Attributes:
        pid: its process id.
        address: where it listens.
    """

    pid: int
    address: str


def serving(side: Side, variant: str) -> AbstractContextManager[Server]:
    """Run a side's server with one thread on its core until the end of the block; see `started`."""
    command = [*_on(SERVER_CORE), str(side.command), "serve", str(side.bundle), "--variant", variant]
    return started([*command, "--threads", "1", "--provider", "cpu"])


@contextmanager
def started(command: Sequence[str]) -> Iterator[Server]:
    """Run a server on a free port until the end of the block.

    Args:
        command: `bertwire serve` and its options.

    Raises:
        UserError: it does not start, or does not end with status 0.
    """
    command = [*command, "--port", "0", "--shutdown-delay-seconds", "0"]
    # A pipe that nobody reads would stop a server that logs much.
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, encoding="utf-8") as process,
    ):
        try:
            assert process.stdout is not None  # noqa: S101 - PIPE was asked for
            ready = re.search(r" at (\S+)$", process.stdout.readline())
            if ready is not None:
                yield Server(process.pid, ready[1])
            process.terminate()
            if process.wait(60) or ready is None:
                log.seek(0)
                what = "end with status 0" if ready else "start"
                raise UserError(f"{' '.join(command)} did not {what}: {_last_line(log.read())}")
        finally:
            process.kill()


def raw(bundle: Path, variant: str, texts: Path, size: int, most: int) -> Figures:
    """Measure ONNX Runtime alone on the server's core; see `bench.raw`."""
    return _child(SERVER_CORE, "bench.raw", bundle, variant, texts, size, most)[0]


def client(server: Server, mode: str, texts: Path, options: dict[str, Any]) -> tuple[Figures, Timeline | None]:
    """Run one mode of the client on its core; see `bench.load`."""
    return _child(CLIENT_CORE, "bench.load", mode, server.address, server.pid, texts, json.dumps(options))


def _child(core: int, module: str, *arguments: object) -> tuple[Figures, Timeline | None]:
    command = [*_on(core), sys.executable, "-m", module, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, encoding="utf-8")
    if done.returncode:
        raise UserError(_last_line(done.stderr) or f"{module} ended with status {done.returncode}")
    found = json.loads(done.stdout)
    return found["figures"], found["timeline"]


def _on(core: int) -> list[str]:
    return ["taskset", "--cpu-list", str(core)]


def _last_line(text: str) -> str:
    return text.strip().rpartition("\n")[2]
