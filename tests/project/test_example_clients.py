"""The clients of examples/ against a server; those that need nothing that is not here."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bertwire_client import Client
from support import Server, random_texts

ROOT = Path(__file__).resolve().parents[2]
NODE, NPM = (shutil.which(name) or "" for name in ("node", "npm"))
TEXTS = random_texts(3, seed=5)


@pytest.fixture(scope="module")
def lines(server: Server) -> list[list[str]]:
    """What a client should print of each text, by words."""
    with Client(server.address) as client:
        results = client.classify(TEXTS).results
    return [[each.label, f"{each.score:.3f}", *text.split()] for each, text in zip(results, TEXTS, strict=True)]


def printed(*command: object) -> list[list[str]]:
    """The words of each line that a command prints, the score with as many digits as Python's client rounds to."""
    output = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True, timeout=60).stdout
    return [[label, f"{float(score):.3f}", *text] for label, score, *text in map(str.split, output.splitlines())]


@pytest.fixture(scope="module")
def python_client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python client, with stubs as its README makes them."""
    folder = tmp_path_factory.mktemp("python")
    shutil.copy(ROOT / "examples" / "python" / "classify.py", folder)
    options = ["-I", str(ROOT / "protos" / "bertwire" / "v1"), f"--python_out={folder}", f"--grpc_python_out={folder}"]
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", *options, "classifier.proto"], check=True)
    return folder / "classify.py"


def test_python(server: Server, python_client: Path, lines: list[list[str]]) -> None:
    """The labels and scores are those of our own client."""
    assert printed(sys.executable, python_client, server.address, *TEXTS) == lines


def test_python_says_what_failed(server: Server, python_client: Path) -> None:
    """A refused call is one line with the status code, and the exit status 1."""
    command = [sys.executable, str(python_client), server.address, " "]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert result.stderr.startswith("INVALID_ARGUMENT: ")
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.skipif(not (NODE and NPM), reason="needs Node and npm")
def test_node(server: Server, tmp_path: Path, lines: list[list[str]]) -> None:
    """The labels and scores are those of our own client, after what the README says to install."""
    folder = tmp_path / "examples" / "node"
    shutil.copytree(ROOT / "examples" / "node", folder, ignore=shutil.ignore_patterns("node_modules"))
    shutil.copytree(ROOT / "protos" / "bertwire" / "v1", tmp_path / "protos" / "bertwire" / "v1")
    install = [NPM, "install", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error"]
    subprocess.run(install, cwd=folder, check=True, timeout=120)
    assert printed(NODE, folder / "classify.mjs", server.address, *TEXTS) == lines
    failed = subprocess.run(
        [NODE, folder / "classify.mjs", server.address, " "], capture_output=True, text=True, check=False
    )
    assert failed.returncode == 1
    assert failed.stderr.startswith("INVALID_ARGUMENT: ")
