"""The processes of a measurement, each on its core: the server, and in turn raw ONNX Runtime or the client."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from bench.figures import Figures
from bench.timeline import Timeline
from bertwire_core.errors import UserError

_CORES = sorted(os.sched_getaffinity(0))
# The server and raw ONNX Runtime take turns on one core; the client has another, where there are two.
SERVER_CORE, CLIENT_CORE = _CORES[0], _CORES[-1]


@dataclass
class Server:
    """A server that runs, or has.

    Attributes:
        process: the process.
        address: where it listens.
        totals: `texts` run, in `batches`, with a share of `padding`; empty until it has stopped.
    """

    process: psutil.Process
    address: str
    totals: Figures = field(default_factory=dict)


@contextmanager
def serving(bundle: Path, variant: str) -> Iterator[Server]:
    """A server with one thread on its core; told to stop at the end of the block, and waited for.

    Raises:
        UserError: it did not start, or did not end well.
    """
    command = [*_on(SERVER_CORE), "-m", "bertwire_cli", "serve", str(bundle), "--port", "0"]
    options = ["--variant", variant, "--threads", "1", "--provider", "cpu", "--shutdown-delay-seconds", "0"]
    with subprocess.Popen(
        [*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8"
    ) as process:
        try:
            assert process.stdout is not None  # noqa: S101 - PIPE was asked for
            ready = re.search(r" at (\S+)$", process.stdout.readline())
            if ready is None:
                raise UserError(f"the server did not start: {_last_line(process.communicate()[1])}")
            server = Server(psutil.Process(process.pid), ready[1])
            yield server
            process.terminate()
            log = process.communicate(timeout=60)[1]
            if process.returncode:
                raise UserError(f"the server did not end well: {_last_line(log)}")
            server.totals = totals(log)
        finally:
            process.kill()


def totals(log: str) -> Figures:
    """What a server says of its runs when it stops; empty where it says nothing."""
    found = re.search(r"ran (\d+) texts in (\d+) batches, padding share ([\d.]+)", log)
    if found is None:
        return {}
    texts, batches, padding = map(float, found.groups())
    return {"texts": texts, "batches": batches, "padding": padding}


def raw(bundle: Path, variant: str, texts: Path, order: str, size: int, most: int) -> Figures:
    """ONNX Runtime alone, on the server's core; see `bench.raw`."""
    return _child(SERVER_CORE, "bench.raw", bundle, variant, texts, order, size, most)[0]


def client(server: Server, mode: str, texts: Path, **options: float) -> tuple[Figures, Timeline | None]:
    """One mode of the client, on its core; see `bench.load`."""
    return _child(CLIENT_CORE, "bench.load", mode, server.address, server.process.pid, texts, json.dumps(options))


def _child(core: int, module: str, *arguments: object) -> tuple[Figures, Timeline | None]:
    done = subprocess.run(
        [*_on(core), "-m", module, *map(str, arguments)], capture_output=True, text=True, check=False, encoding="utf-8"
    )
    if done.returncode:
        raise UserError(_last_line(done.stderr) or f"{module} ended with status {done.returncode}")
    found = json.loads(done.stdout)
    return found["figures"], found["timeline"]


def _on(core: int) -> list[str]:
    return ["taskset", "--cpu-list", str(core), sys.executable]


def _last_line(text: str) -> str:
    return text.strip().rpartition("\n")[2]
