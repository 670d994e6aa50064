"""What each extra brings to someone who installs the package."""

import subprocess
import venv
from pathlib import Path

import pytest

from environments import pip

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The python of an environment with the base install."""
    environment = tmp_path_factory.mktemp("base") / "venv"
    venv.create(environment)
    pip(environment, "install", "--quiet", "--no-compile", ROOT)
    return environment / "bin" / "python"


def run(python: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Runs Python away from the repository, so that only what was installed is found."""
    return subprocess.run([python, *arguments], capture_output=True, text=True, check=False, cwd=python.parent)


@pytest.mark.timeout(400)
def test_base_install_is_the_client(base: Path) -> None:
    """The base install is a client that imports, with gRPC and protobuf and nothing more."""
    done = run(base, "-c", "from bertwire_client import AsyncClient, Client; Client('localhost:1').close()")
    assert (done.returncode, done.stderr) == (0, "")
    listed = pip(base.parents[1], "list", "--format", "freeze").splitlines()
    names = {line.split("==")[0].split(" @ ")[0] for line in listed}
    assert names == {"bertwire", "grpcio", "protobuf", "typing_extensions"}


@pytest.mark.timeout(400)
@pytest.mark.parametrize("command", ["train", "export", "serve", "score", "inspect", "bundle"])
def test_missing_part_names_its_extra(base: Path, command: str) -> None:
    """A command whose part is not installed says in one line which extra brings it."""
    done = run(base, "-m", "bertwire_cli", command, "--help")
    assert done.returncode == 1
    assert "pip install '.[" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
