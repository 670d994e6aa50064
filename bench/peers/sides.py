"""The servers that are compared, and how each is started."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil

from bench.peers.model import PeerModel
from bench.processes import SERVER_CORE
from bertwire_core.errors import UserError

SERVERS = Path(__file__).with_name("servers").resolve()
ENVIRONMENTS = Path(".peers").resolve()
# Seconds until a server has to answer; Triton takes ten of them.
_START = 90
# Texts of a batch, as in servers/common.py.
_MAX_BATCH = 32


@dataclass(frozen=True)
class Peer:
    """A server.

    Attributes:
        name: for the table.
        package: its environment under .peers, and the name of its file; "" is bertwire.
        protocol: what the client speaks to it.
        by_hand: batches are sorted by length and run in fours.
    """

    name: str
    package: str
    protocol: Literal["bertwire", "http", "oip"]
    by_hand: bool = False


BERTWIRE = Peer("bertwire", "", "bertwire")
PEERS = (
    BERTWIRE,
    Peer("FastAPI, one text a run", "fastapi", "http"),
    Peer("mosec", "mosec", "http"),
    Peer("mosec, by hand", "mosec", "http", by_hand=True),
    Peer("MLServer", "mlserver", "oip"),
    Peer("MLServer, by hand", "mlserver", "oip", by_hand=True),
    Peer("Triton (Python model)", "pytriton", "oip"),
    Peer("Triton (Python model), by hand", "pytriton", "oip", by_hand=True),
)


@contextmanager
def serving(peer: Peer, bundle: Path, model: PeerModel) -> Iterator[tuple[int, int]]:
    """Run a server on its core until the end of the block; yield its process id and port.

    Raises:
        UserError: it does not listen in time.
    """
    port = _free_port()
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile("w+", encoding="utf-8") as log:
        command = ["taskset", "--cpu-list", str(SERVER_CORE), *_command(peer, bundle, port, Path(folder))]
        environment = os.environ | model.environment
        environment |= {"PEER_PORT": str(port), "PEER_FOURS": str(int(peer.by_hand)), "PYTHONPATH": str(SERVERS)}
        environment["OMP_NUM_THREADS"] = "1"
        process = psutil.Popen(
            command,
            env=environment,
            cwd=folder,
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            if not _listens(process, port):
                log.seek(0)
                raise UserError(f"{peer.name} did not start: {log.read().strip()[-2000:]}")
            yield process.pid, port
        finally:
            _end(process)


def _command(peer: Peer, bundle: Path, port: int, folder: Path) -> list[str]:
    if not peer.package:
        own = [str(Path(sys.executable).with_name("bertwire")), "serve", str(bundle.resolve()), "--variant", "int8"]
        return [*own, "--threads", "1", "--provider", "cpu", "--port", str(port), "--shutdown-delay-seconds", "0"]
    python = ENVIRONMENTS / peer.package / "bin/python"
    if peer.package == "mlserver":
        _write_mlserver(folder, port)
        return [str(python.with_name("mlserver")), "start", str(folder)]
    command = [str(python), str(SERVERS / f"{peer.package}_app.py")]
    return [*command, "--port", str(port), "--address", "127.0.0.1"] if peer.package == "mosec" else command


def _write_mlserver(folder: Path, port: int) -> None:
    settings = {"host": "127.0.0.1", "http_port": port + 1, "grpc_port": port, "metrics_port": port + 2}
    # Without its pool of processes, which on one core would only add copies.
    (folder / "settings.json").write_text(json.dumps(settings | {"parallel_workers": 0}), encoding="utf-8")
    model = {"name": "peer", "implementation": "mlserver_app.Classify"}
    # Seconds that a batch waits for more; 10 ms, as mosec's.
    batches = {"max_batch_size": _MAX_BATCH, "max_batch_time": 0.01}
    (folder / "model-settings.json").write_text(json.dumps(model | batches), encoding="utf-8")


def _listens(process: psutil.Popen, port: int) -> bool:
    until = time.monotonic() + _START
    while time.monotonic() < until and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return True
        time.sleep(0.1)
    return False


def _end(process: psutil.Popen) -> None:
    every = [process, *process.children(recursive=True)] if process.is_running() else [process]
    process.terminate()
    _, alive = psutil.wait_procs(every, timeout=20)
    for each in alive:
        each.kill()
    psutil.wait_procs(alive, timeout=10)


def _free_port() -> int:
    # The two after it are for servers that have ports besides.
    for port in range(23000, 32000, 10):
        probes = [socket.socket() for _ in range(3)]
        try:
            for place, probe in enumerate(probes):
                probe.bind(("127.0.0.1", port + place))
        except OSError:
            continue
        finally:
            for probe in probes:
                probe.close()
        return port
    raise UserError("no free port from 23000 to 32000")
