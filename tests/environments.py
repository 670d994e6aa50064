"""Environments that tests install into."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def pip(environment: Path, *arguments: object) -> str:
    """Runs this environment's pip on another, which needs none, and gives what it prints."""
    options = ["--python", environment, "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", *map(str, (*options, *arguments))]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=300, cwd=ROOT).stdout
