"""The stubs that are checked in are those of the protos."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_generated_stubs_are_current(tmp_path: Path) -> None:
    """Generating again gives the same files, byte for byte, and no others."""
    subprocess.run([sys.executable, ROOT / "scripts" / "generate_stubs.py", tmp_path], check=True)
    generated = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*.py*")}
    kept = {path.relative_to(ROOT / "protos"): path.read_bytes() for path in (ROOT / "protos").rglob("*_pb2*.py*")}
    kept = {path: content for path, content in kept.items() if "__pycache__" not in path.parts}
    assert generated == kept
    assert len(kept) >= 3
