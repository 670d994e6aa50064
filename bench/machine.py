"""Where and with what a measurement was made."""

import importlib.metadata
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import onnxruntime

from bertwire_runtime.cores import usable_cores


def machine() -> dict[str, object]:
    """Return processor, cores, system, versions, commit and time."""
    packages = ("bertwire", "tokenizers", "grpcio", "numpy")
    return {
        "cpu": _cpu(),
        "cores": usable_cores(),
        "system": platform.platform(),
        # Its build for CUDA is another package with the same module.
        "versions": {"python": platform.python_version(), "onnxruntime": onnxruntime.__version__}
        | {name: importlib.metadata.version(name) for name in packages},
        "commit": git("rev-parse", "HEAD") + ("-changed" if git("status", "--porcelain") else ""),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def git(*arguments: str) -> str:
    """Return what a git command prints; empty where it fails."""
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False, encoding="utf-8")  # noqa: S607
    return done.stdout.strip()


def _cpu() -> str:
    # bertwire_export has the same, and loads PyTorch with it.
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
