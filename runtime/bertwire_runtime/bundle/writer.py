"""Seals a folder of files into a bundle."""

import hashlib
from pathlib import Path

from bertwire_runtime.bundle.manifest import MANIFEST, SEAL, FileEntry, Manifest
from bertwire_runtime.bundle.reader import seal_line


def add_file(folder: Path, name: str) -> FileEntry:
    """Describes a file that lies in the bundle's folder."""
    with (folder / name).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return FileEntry(name=name, bytes=(folder / name).stat().st_size, sha256=digest)


def seal(folder: Path, manifest: Manifest) -> None:
    """Writes the manifest and its seal into `folder`, which holds the files it lists."""
    content = (manifest.model_dump_json(indent=2) + "\n").encode()
    (folder / MANIFEST).write_bytes(content)
    (folder / SEAL).write_bytes(seal_line(hashlib.sha256(content).hexdigest()))
