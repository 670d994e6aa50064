"""Where a server can listen, and how it is reached there."""

import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import grpc.aio
import pytest
from pydantic import ValidationError

from bertwire_client import Client
from bertwire_core.errors import UserError
from bertwire_server.config import ServerConfig
from bertwire_server.listen import bind
from support import Serve, bertwire


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder whose path is short enough for a socket's."""
    with TemporaryDirectory(prefix="bw") as name:
        yield Path(name)


def run(*command: object) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end."""
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=60, check=False)


def dead_socket(path: Path) -> None:
    """Leaves the file of a socket that nobody listens at."""
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))


def test_socket_file(serve: Serve, bundle: Path, folder: Path) -> None:
    """Commands and the probe reach a server at unix:PATH; a dead one's file is replaced, and a stop takes it away."""
    path, rows, scored = folder / "bertwire.sock", folder / "rows.csv", folder / "scored.csv"
    rows.write_text("text\nw1\n")
    dead_socket(path)
    with serve(bundle, "--variant", "fp32", "--host", f"unix:{path}") as server:
        assert server.address == f"unix:{path}"
        assert stat.S_ISSOCK(path.stat().st_mode)
        for words in (
            bertwire("classify", server.address, "w1"),
            bertwire("models", "list", server.address),
            bertwire("score", rows, "--output", scored, "--server", server.address),
            [sys.executable, "-m", "bertwire_server.probe", server.address],
        ):
            assert run(*words).returncode == 0
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(30) == 0
    assert not path.exists()


async def test_lets_a_living_server_have_its_socket_file(folder: Path) -> None:
    """A file at which someone listens is left alone, whoever it is."""
    host = f"unix:{folder / 'bertwire.sock'}"
    first = grpc.aio.server()
    bind(first, host, 0, None)
    await first.start()
    with pytest.raises(UserError, match=r"^cannot listen on unix:.*: Address already in use; choose another --host"):
        bind(grpc.aio.server(), host, 0, None)
    await first.stop(0)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("file", "a file is there that is no socket"),
        ("none/bertwire.sock", "No such file or directory"),
        ("x" * 107, "a socket's path has at most 107 bytes"),
    ],
)
async def test_says_why_there_can_be_no_socket_file(folder: Path, name: str, reason: str) -> None:
    """One line that names path and reason; what is there stays."""
    (folder / "file").write_text("mine")
    with pytest.raises(UserError, match=f"^cannot listen on unix:.*: {reason}; choose another --host$"):
        bind(grpc.aio.server(), f"unix:{folder / name}", 0, None)
    assert (folder / "file").read_text() == "mine"


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="needs IPv6")
def test_ipv6_in_brackets(serve: Serve, bundle: Path) -> None:
    """The host may be written as in an address; the metrics' too."""
    options = ("--host", "[::1]", "--metrics-host", "[::1]", "--metrics-port", 0)
    with serve(bundle, "--variant", "fp32", *options) as server:
        assert server.address.startswith("[::1]:")
        with Client(server.address) as client:
            assert client.classify(["w1"]).results


@pytest.mark.parametrize(
    ("given", "host"),
    [
        ("[::1]", "::1"),
        ("fe80::1%eth0", "fe80::1%eth0"),
        ("bert.example", "bert.example"),
        ("unix:///run/b.sock", "unix:/run/b.sock"),
        ("unix:b.sock", f"unix:{Path.cwd() / 'b.sock'}"),
    ],
)
def test_hosts(given: str, host: str) -> None:
    """A path is shown as others can use it, wherever they are."""
    assert ServerConfig(bundle=Path("b"), host=given).host == host


@pytest.mark.parametrize("field", ["host", "metrics_host"])
@pytest.mark.parametrize("given", ["127.0.0.1:8500", "[::1]:8500", "unix:"])
def test_refuses_what_is_no_host(field: str, given: str) -> None:
    """A port has an option of its own; metrics have no socket file."""
    with pytest.raises(ValidationError, match=field):
        ServerConfig(bundle=Path("b"), **{field: given})
