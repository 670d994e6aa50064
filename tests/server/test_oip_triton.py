"""Triton's own client against a real server, where its environment is there."""

import re
import subprocess
from pathlib import Path

import pytest

from support import Server

TRITON = Path(__file__).resolve().parents[2] / ".tritonclient" / "bin" / "python"
CHECKS = Path(__file__).with_name("triton_checks.py")
pytestmark = pytest.mark.skipif(
    not TRITON.is_file(), reason="needs the environment of Triton's client: make tritonclient"
)


@pytest.mark.parametrize("check", re.findall(r"^(?:async )?def (check_\w+)", CHECKS.read_text(), re.MULTILINE))
def test_triton_client(server: Server, check: str) -> None:
    """What the check of that name says of itself."""
    result = subprocess.run(
        [TRITON, CHECKS, check, server.address, "tiny"], capture_output=True, text=True, timeout=100, check=False
    )
    assert result.returncode == 0, result.stderr
