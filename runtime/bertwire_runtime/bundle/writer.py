"""Sealing of a folder as a bundle."""

import hashlib
from pathlib import Path

from bertwire_runtime.bundle.manifest import MANIFEST, SEAL, FileEntry, Manifest
from bertwire_runtime.bundle.reader import seal_line


def file_entry(name: str, content: bytes) -> FileEntry:
    """Return the manifest entry of a file that is still to be written."""
    return FileEntry(name=name, bytes=len(content), sha256=hashlib.sha256(content).hexdigest())


def add_file(folder: Path, name: str) -> FileEntry:
    """Return the manifest entry of a file in the bundle's folder."""
    with (folder / name).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return FileEntry(name=name, bytes=(folder / name).stat().st_size, sha256=digest)


def seal(folder: Path, manifest: Manifest) -> None:
    """Write the manifest and its seal into the folder with the listed files."""
    content = (manifest.model_dump_json(indent=2) + "\n").encode()
    (folder / MANIFEST).write_bytes(content)
    (folder / SEAL).write_bytes(seal_line(hashlib.sha256(content).hexdigest()))
