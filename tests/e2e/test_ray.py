"""Ray Data and Ray Serve, where their environment is there."""

import os
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import yaml

from bertwire_client import Client, InvalidArgumentError, NotFoundError, RequestError
from support import Serve, random_texts

ROOT = Path(__file__).resolve().parents[2]
RAY = ROOT / ".ray" / "bin"
EXAMPLE = ROOT / "examples" / "ray-serve"
pytestmark = pytest.mark.skipif(not (RAY / "python").is_file(), reason="needs the environment of Ray: make ray")


@pytest.fixture
def environment() -> Iterator[dict[str, str]]:
    """The environment of Ray's processes: no use of the network, few of them, in a folder with a short name."""
    with tempfile.TemporaryDirectory(prefix="ray") as folder:
        own = {
            "RAY_TMPDIR": folder,
            "RAY_AUTH_MODE": "disabled",
            "RAY_USAGE_STATS_ENABLED": "0",
            # Ray's workers yield to every other process, and the tests beside this one would starve them.
            "RAY_worker_niceness": "0",
            # Processes that read the footers of Parquet files, 32 otherwise.
            "RAY_DATA_PARQUET_FOOTER_NUM_ACTORS": "1",
            "PYTHONPATH": str(EXAMPLE),
        }
        yield {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"} | own


def test_ray_data(bundle: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    """A node is lost in the middle of a job, then the driver of another: each row is written once."""
    command = [RAY / "python", ROOT / "tests" / "e2e" / "ray_checks.py", "data", bundle, tmp_path]
    result = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, env=environment)
    assert result.returncode == 0, result.stderr


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@contextmanager
def deployed(bundle: Path, folder: Path, environment: dict[str, str]) -> Iterator[str]:
    """Runs the example with this bundle on free ports, as its README says, and gives the proxy's address."""
    config: Any = yaml.safe_load((EXAMPLE / "serve.yaml").read_text())
    http, grpc = free_ports(2)
    config["http_options"]["port"], config["grpc_options"]["port"] = http, grpc
    config["applications"][0]["args"]["bundle"] = str(bundle)
    (folder / "serve.yaml").write_text(yaml.safe_dump(config))
    command = [str(RAY / "serve"), "run", str(folder / "serve.yaml")]
    address, log = f"127.0.0.1:{grpc}", folder / "serve.log"
    with (
        log.open("wb") as output,
        subprocess.Popen(command, stdout=output, stderr=output, env=environment, cwd=EXAMPLE) as process,
    ):
        try:
            assert is_ready(address, process), log.read_text()
            yield address
        finally:
            process.send_signal(signal.SIGINT)


def is_ready(address: str, process: "subprocess.Popen[bytes]") -> bool:
    """Waits until a replica answers; False where the process ends before."""
    turn = Event()
    with Client(address, attempts=1, timeout=5) as client:
        while process.poll() is None:
            try:
                return bool(client.list_models())
            except RequestError:
                turn.wait(0.2)
    return False


def test_ray_serve(bundle: Path, tmp_path: Path, environment: dict[str, str], serve: Serve) -> None:
    """Replicas answer calls, streams and errors as the server does."""
    texts = random_texts(5, seed=4)
    with (
        serve(bundle) as server,
        deployed(bundle, tmp_path, environment) as address,
        Client(server.address) as ours,
        Client(address) as ray,
    ):
        expected = ours.classify(texts).results
        streamed = [each.reply.results[0] for each in ray.stream(texts, ordered=True)]
        for found in (ray.classify(texts).results, streamed):
            assert [each.label for each in found] == [each.label for each in expected]
            assert [each.score for each in found] == pytest.approx([each.score for each in expected], abs=1e-6)
        assert ray.list_models() == ours.list_models()
        with pytest.raises(NotFoundError, match="no model"):
            ray.classify(texts, model="other")
        with pytest.raises(InvalidArgumentError, match="blank"):
            ray.classify([" "])
