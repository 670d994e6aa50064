"""Steps whose result is kept, and used again only where it is whole and made from the same inputs."""

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

# How long a process may take to end after it was asked to; then it is killed.
_PATIENCE_SECONDS = 40


class Clock:
    """Takes the time of steps, one after the other."""

    def __init__(self) -> None:
        self._started = monotonic()
        self._steps: list[str] = []

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Takes the time of the block."""
        began = monotonic()
        yield
        self._steps.append(f"{name} {_spoken(monotonic() - began)}")

    def __str__(self) -> str:
        return f"{', '.join(self._steps)}: {_spoken(monotonic() - self._started)} in all"


def _spoken(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def bertwire(*arguments: object) -> list[str]:
    """The command line of a `bertwire` command."""
    return [sys.executable, "-m", "bertwire_cli", *map(str, arguments)]


def run(*arguments: object) -> None:
    """Shows and runs a `bertwire` command; raises `UserError` where it fails."""
    err.print(f"\n$ bertwire {' '.join(map(str, arguments))}", soft_wrap=True, markup=False, style="bold")
    with process(bertwire(*arguments)) as started:
        code = started.wait()
    if code:
        raise UserError(f"bertwire {arguments[0]} failed with exit status {code}; see above")


@contextmanager
def process(command: list[str], **options: Any) -> Iterator["subprocess.Popen[str]"]:  # noqa: ANN401 - Popen's own
    """Starts a process and, however the block ends, sees that it has gone."""
    started = subprocess.Popen(command, text=True, **options)
    try:
        yield started
    finally:
        started.terminate()
        try:
            started.wait(_PATIENCE_SECONDS)
        finally:
            started.kill()
            started.wait()


def made_from(output: Path, inputs: dict[str, str]) -> bool:
    """Whether `output` is the untouched result of a step with these inputs."""
    try:
        note = json.loads(_note(output).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return output.exists() and bool(note == {"inputs": inputs, "sha256": content_hash(output)})


def keep(output: Path, inputs: dict[str, str]) -> None:
    """Notes what a whole `output` was made from."""
    with whole_file(_note(output)) as partial:
        partial.write_text(json.dumps({"inputs": inputs, "sha256": content_hash(output)}), encoding="utf-8")


def started_from(output: Path, inputs: dict[str, str]) -> bool:
    """Whether the last start of a step that may be interrupted had these inputs; notes that it starts with them now."""
    note = output.with_name(f"{output.name}.started-from.json")
    content = json.dumps(inputs)
    same = note.is_file() and note.read_text(encoding="utf-8") == content
    with whole_file(note) as partial:
        partial.write_text(content, encoding="utf-8")
    return same


def code_hash(package: str) -> str:
    """SHA-256 over the sources of a package, so that what older code made is made again."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise UserError(f"{package} is not installed; run make install")
    return content_hash(Path(spec.origin).parent, "*.py")


def content_hash(path: Path, pattern: str = "*") -> str:
    """SHA-256 over a file, or over the names and contents of all files in a folder that match `pattern`."""
    digest = hashlib.sha256()
    for file in sorted(path.rglob(pattern)) if path.is_dir() else [path]:
        if file.is_file():
            with file.open("rb") as opened:
                part = hashlib.file_digest(opened, "sha256").hexdigest()
            digest.update(f"{file.relative_to(path.parent)} {part}\n".encode())
    return digest.hexdigest()


def _note(output: Path) -> Path:
    return output.with_name(f"{output.name}.made-from.json")
