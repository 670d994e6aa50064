"""What the Dockerfile installs, installed here without an engine; and the rules that a linter would hold it to."""

import re
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from environments import pip
from support import Serve

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions with their arguments, continued lines joined."""
    lines = re.sub(r"\\\n\s*", " ", re.sub(r"(?m)^#.*\n", "", DOCKERFILE)).splitlines()
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in lines) if name]


@pytest.mark.timeout(600)
def test_cpu_image_serves_without_torch(tmp_path: Path, bundle: Path, serve: Serve) -> None:
    """The pinned CPU list and the package, in an empty environment, give a healthy server and no torch."""
    environment = tmp_path / "image"
    venv.create(environment)
    # The server compiles the few modules that it imports.
    pip(environment, "install", "--quiet", "--no-compile", "--requirement", "requirements/serve-cpu.txt")
    pip(environment, "install", "--quiet", "--no-compile", "--no-deps", ".")
    installed = {line.split("==")[0] for line in pip(environment, "list", "--format", "freeze").splitlines()}
    assert "bertwire" in installed
    assert installed & {"torch", "transformers", "scikit-learn", "datasets", "pandas"} == set()
    python = str(environment / "bin" / "python")
    with serve(bundle, python=python) as server:
        probe = [python, "-m", "bertwire_server.probe", server.address]
        assert subprocess.run(probe, check=False).returncode == 0
        assert subprocess.run([*probe, "unknown.Service"], check=False).returncode == 1


@pytest.mark.timeout(600)
def test_gpu_list_resolves(tmp_path: Path) -> None:
    """The pinned GPU list has no conflict, brings ONNX Runtime for CUDA alone, and no torch."""
    report = tmp_path / "report.json"
    options = ["--dry-run", "--ignore-installed", "--quiet", "--report", str(report)]
    command = [sys.executable, "-m", "pip", "install", *options, "-r", str(ROOT / "requirements" / "serve-gpu.txt")]
    subprocess.run(command, check=True, cwd=tmp_path)
    names = set(re.findall(r'"name": "([\w.-]+)"', report.read_text()))
    assert {"onnxruntime-gpu", "tokenizers", "grpcio"} <= names
    assert names & {"onnxruntime", "torch", "transformers"} == set()


def test_bases_are_pinned() -> None:
    """Each stage starts from an image with a version."""
    bases = [rest.split(" AS ")[0] for name, rest in instructions() if name == "FROM"]
    assert bases == ["python:${PYTHON}-slim-bookworm"] * 2
    assert ("ARG", "PYTHON=3.12") in instructions()


def test_asks_for_the_driver() -> None:
    """The image refuses a driver older than the CUDA that the pinned ONNX Runtime is built for."""
    assert ("ENV", "NVIDIA_REQUIRE_CUDA=cuda>=13.0") in instructions()
    pinned = (ROOT / "requirements" / "serve-gpu.txt").read_text(encoding="utf-8")
    assert re.search(r"(?m)^onnxruntime-gpu==1\.(3[1-9]|[4-9]\d)\.", pinned)
    assert re.search(r"(?m)^nvidia-cuda-runtime==13\.", pinned)


def test_copies_what_exists() -> None:
    """Every file and folder copied from the context is there and is let through by .dockerignore."""
    ignore = (ROOT / ".dockerignore").read_text().splitlines()
    copied = [rest.split()[:-1] for name, rest in instructions() if name == "COPY" and not rest.startswith("--from")]
    for source in (each for sources in copied for each in sources):
        for runtime in ("cpu", "gpu"):
            assert (ROOT / source.replace("${RUNTIME}", runtime)).exists()
        assert f"!{source.replace('${RUNTIME}', '*')}" in ignore


def test_runs_as_nobody_and_reports_health() -> None:
    """The last stage drops root before its entry point, has a health check, and starts the server in exec form."""
    names = [name for name, _ in instructions()]
    last = dict(instructions()[len(names) - names[::-1].index("FROM") - 1 :])
    assert last["USER"] == "10001"
    # Within a container 127.0.0.1 reaches nobody, whatever options stand in for CMD.
    assert last["ENTRYPOINT"] == '["bertwire", "serve", "--host", "0.0.0.0"]'
    assert last["CMD"] == '["/bundle"]'
    assert '"bertwire_server.probe"' in last["HEALTHCHECK"]


def test_installs_only_pinned() -> None:
    """Pip installs from the pinned list, or the package itself without dependencies, and keeps no cache."""
    installs = [rest for name, rest in instructions() if name == "RUN" and "pip install" in rest]
    assert len(installs) == 2
    for each in installs:
        assert "--no-cache-dir" in each
        assert "--requirement requirements.txt" in each or "--no-deps ." in each
