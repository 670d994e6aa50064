"""What several tests of the export need."""

import shutil
from pathlib import Path

import pytest


@pytest.fixture
def checkpoint_copy(checkpoint: Path, tmp_path: Path) -> Path:
    """A copy of the tiny checkpoint, to be damaged or changed."""
    return Path(shutil.copytree(checkpoint, tmp_path / "checkpoint"))
