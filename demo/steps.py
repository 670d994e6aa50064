"""Steps whose results are reused while complete and made from the same inputs."""

import hashlib
import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

from bertwire_core.console import err
from bertwire_core.errors import UserError
from bertwire_core.files import whole_file

# Seconds that a process may take to end after SIGTERM before it is killed.
_TERMINATE_SECONDS = 40


class Clock:
    """Wall-clock times of consecutive steps."""

    def __init__(self) -> None:
        self._started = monotonic()
        self._steps: list[str] = []

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time the block."""
        began = monotonic()
        yield
        self._steps.append(f"{name} {_spoken(monotonic() - began)}")

    def __str__(self) -> str:
        return f"{', '.join(self._steps)}: {_spoken(monotonic() - self._started)} in all"


def _spoken(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def bertwire(*arguments: object) -> list[str]:
    """Return the command line of a `bertwire` command."""
    return [sys.executable, "-m", "bertwire_cli", *map(str, arguments)]


def run(*arguments: object) -> None:
    """Print and run a `bertwire` command; raise `UserError` where it fails."""
    err.print(f"\n$ bertwire {' '.join(map(str, arguments))}", soft_wrap=True, markup=False, style="bold")
    with process(bertwire(*arguments)) as started:
        code = started.wait()
    if code:
        raise UserError(f"bertwire {arguments[0]} failed with exit status {code}; see above")


@contextmanager
def process(command: list[str], **options: Any) -> Iterator["subprocess.Popen[str]"]:  # noqa: ANN401 - Popen's own
    """Start a process and end it after the block."""
    started = subprocess.Popen(command, text=True, **options)
    try:
        yield started
    finally:
        started.terminate()
        try:
            started.wait(_TERMINATE_SECONDS)
        finally:
            started.kill()
            started.wait()


def made_from(output: Path, inputs: dict[str, str]) -> bool:
    """Whether `output` is the unmodified result of a step with these inputs."""
    try:
        note = json.loads(_note(output).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return output.exists() and bool(note == {"inputs": inputs, "sha256": content_hash(output)})


def keep(output: Path, inputs: dict[str, str]) -> None:
    """Record the inputs and hash of a complete `output`."""
    with whole_file(_note(output)) as partial:
        partial.write_text(json.dumps({"inputs": inputs, "sha256": content_hash(output)}), encoding="utf-8")


def started_from(output: Path, inputs: dict[str, str]) -> bool:
    """Whether the step's last start, interrupted or not, had these inputs; record them for this start."""
    note = output.with_name(f"{output.name}.started-from.json")
    content = json.dumps(inputs)
    same = note.is_file() and note.read_text(encoding="utf-8") == content
    with whole_file(note) as partial:
        partial.write_text(content, encoding="utf-8")
    return same


def code_hash(package: str) -> str:
    """Return the SHA-256 of a package's sources, so that changed code invalidates results."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise UserError(f"{package} is not installed; run make install")
    return content_hash(Path(spec.origin).parent, "*.py")


def content_hash(path: Path, pattern: str = "*") -> str:
    """Return the SHA-256 of a file, or of names and contents of a folder's files that match `pattern`."""
    digest = hashlib.sha256()
    for file in sorted(path.rglob(pattern)) if path.is_dir() else [path]:
        if file.is_file():
            with file.open("rb") as opened:
                part = hashlib.file_digest(opened, "sha256").hexdigest()
            digest.update(f"{file.relative_to(path.parent)} {part}\n".encode())
    return digest.hexdigest()


def _note(output: Path) -> Path:
    return output.with_name(f"{output.name}.made-from.json")
