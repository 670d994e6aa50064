"""What tests of several parts share and is no fixture."""

import hashlib
import json
import random
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

if TYPE_CHECKING:
    from typer.testing import Result

LABELS = ["negative", "neutral", "positive"]
WORDS = [f"w{number}" for number in range(60)]
Edit = Callable[[dict[str, Any]], object]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def random_texts(count: int, seed: int = 0, longest: int = 30) -> list[str]:
    """Texts of 1 to `longest` words that the tiny checkpoint's tokenizer knows, one token a word."""
    generator = random.Random(seed)  # noqa: S311 - test data
    return [" ".join(generator.choices(WORDS, k=generator.randint(1, longest))) for _ in range(count)]


class Server:
    """A running `bertwire serve` process.

    Attributes:
        process: the process.
        address: where it listens.
    """

    def __init__(self, process: "subprocess.Popen[str]", address: str) -> None:
        self.process, self.address = process, address


Serve = Callable[..., AbstractContextManager[Server]]


def bertwire(*arguments: object, python: str = sys.executable) -> list[str]:
    """The command line of the `bertwire` command in an environment, this one unless told otherwise."""
    return [python, "-m", "bertwire_cli", *map(str, arguments)]


def in_process(command: str, *arguments: object) -> "Result":
    """Runs a `bertwire` command in this process, where PyTorch is loaded; gives its exit status and what it printed."""
    from typer.testing import CliRunner

    from bertwire_cli.app import build_app

    return CliRunner().invoke(build_app(command), [command, *map(str, arguments)])


def export_padded(checkpoint: Path, output: Path, **options: object) -> Path:
    """Exports a checkpoint as if export did not know its structure, so that its graphs compute padding."""
    from bertwire_export import pipeline
    from bertwire_export.config import ExportConfig
    from bertwire_export.packed.weights import NotPackable

    def refuse(_: object) -> NoReturn:
        raise NotPackable("unknown")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "read_encoder", refuse)
        pipeline.run(ExportConfig(checkpoint=checkpoint, output=output, quick=True, **options))
    return output


def reseal(folder: Path, edit: Edit) -> None:
    """Edits the manifest and seals it again, as someone who knows the format would."""
    manifest = json.loads((folder / "manifest.json").read_bytes())
    edit(manifest)
    reseal_bytes(folder, json.dumps(manifest).encode())


def reseal_bytes(folder: Path, content: bytes) -> None:
    """Puts any bytes in the manifest's place, with a seal that fits them."""
    (folder / "manifest.json").write_bytes(content)
    (folder / "manifest.sha256").write_text(f"{hashlib.sha256(content).hexdigest()}  manifest.json\n")


def rehash(folder: Path) -> None:
    """Makes the manifest fit the files as they are now and seals it: a forgery that only a signature can tell."""

    def refresh(manifest: dict[str, Any]) -> None:
        for entry in (manifest["tokenizer"], manifest["probe"], *(each["file"] for each in manifest["variants"])):
            content = (folder / entry["name"]).read_bytes()
            entry.update(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())

    reseal(folder, refresh)
