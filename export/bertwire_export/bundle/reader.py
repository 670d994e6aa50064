"""Opens a bundle, and refuses one that is not exactly what was sealed."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from bertwire_client.errors import UserError
from bertwire_export.bundle.manifest import MANIFEST, SCHEMA_VERSION, SEAL, FileEntry, Manifest

_CHUNK = 1 << 20
# Far above any real manifest; keeps a wrong file from being read whole.
_MAX_MANIFEST_BYTES = 16 << 20


class BundleError(UserError):
    """The bundle is not what was sealed; the message says what differs."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """An opened bundle.

    Attributes:
        path: its folder.
        manifest: its verified manifest.
        sha256: SHA-256 of the manifest's bytes, which names this very bundle.
    """

    path: Path
    manifest: Manifest
    sha256: str

    def read(self, entry: FileEntry) -> bytes:
        """Reads a listed file; raises `BundleError` unless the bytes returned are those that were sealed."""
        try:
            content = (self.path / entry.name).read_bytes()
        except OSError as error:
            raise BundleError(f"{self.path}: cannot read {entry.name}: {error.strerror}") from error
        _require_hash(self.path, entry.name, hashlib.sha256(content).hexdigest(), entry.sha256)
        return content

    def verify(self) -> None:
        """Hashes every listed file; raises `BundleError` at the first that differs."""
        for entry in self.manifest.files:
            _require_hash(self.path, entry.name, _hash_file(self.path, entry), entry.sha256)


def open_bundle(path: Path) -> Bundle:
    """Opens the bundle in folder `path` and verifies all of it.

    Raises:
        BundleError: no bundle, a schema this version does not know, a manifest that does not match its seal, a file
            that is missing, added, altered, cut short or no plain file.
    """
    if not path.is_dir():
        raise BundleError(f"{path}: no such bundle; a bundle is a folder written by bertwire export")
    content = _small_file(path, MANIFEST)
    sealed, digest = _small_file(path, SEAL), hashlib.sha256(content).hexdigest()
    _require_schema(path, content)
    if sealed != seal_line(digest):
        raise BundleError(f"{path}: {MANIFEST} does not match its seal {SEAL}; the bundle was altered, export it again")
    try:
        manifest = Manifest.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "manifest"
        raise BundleError(f"{path}: {MANIFEST} is wrong at {where}: {first['msg']}") from None
    bundle = Bundle(path, manifest, digest)
    _require_same_files(path, manifest)
    bundle.verify()
    return bundle


def seal_line(digest: str) -> bytes:
    """The content of the seal file for a manifest with this SHA-256."""
    return f"{digest}  {MANIFEST}\n".encode()


def _small_file(path: Path, name: str) -> bytes:
    file = path / name
    if file.is_symlink() or not file.is_file():
        raise BundleError(f"{path}: {name} is missing; a bundle is a folder written by bertwire export")
    try:
        with file.open("rb") as opened:
            content = opened.read(_MAX_MANIFEST_BYTES + 1)
    except OSError as error:
        raise BundleError(f"{path}: cannot read {name}: {error.strerror}") from error
    if len(content) > _MAX_MANIFEST_BYTES:
        raise BundleError(f"{path}: {name} is larger than any manifest")
    return content


def _require_schema(path: Path, content: bytes) -> None:
    """Checked before anything else of the manifest, so that a newer bundle is not called a broken one."""
    try:
        values = json.loads(content)
    except (ValueError, RecursionError):
        raise BundleError(f"{path}: {MANIFEST} is not JSON; the bundle was altered, export it again") from None
    version = values.get("schema_version") if isinstance(values, dict) else None
    if type(version) is not int or version != SCHEMA_VERSION:
        raise BundleError(
            f"{path}: {MANIFEST} has schema version {version!r}, this bertwire reads {SCHEMA_VERSION}; "
            "export the checkpoint with this version, or use the bertwire that wrote the bundle"
        )


def _require_same_files(path: Path, manifest: Manifest) -> None:
    expected = {MANIFEST, SEAL, *(entry.name for entry in manifest.files)}
    found = {entry.name for entry in path.iterdir()}
    if missing := sorted(expected - found):
        raise BundleError(f"{path}: {missing[0]} is missing; copy the whole bundle again")
    if added := sorted(found - expected):
        raise BundleError(f"{path}: {added[0]!r} does not belong to the bundle; remove it")


def _hash_file(path: Path, entry: FileEntry) -> str:
    file = path / entry.name
    if file.is_symlink() or not file.is_file():
        raise BundleError(f"{path}: {entry.name} is no plain file; copy the whole bundle again")
    if (size := file.stat().st_size) != entry.bytes:
        raise BundleError(f"{path}: {entry.name} has {size} bytes, {entry.bytes} were sealed; copy the bundle again")
    digest = hashlib.sha256()
    try:
        with file.open("rb") as opened:
            while chunk := opened.read(_CHUNK):
                digest.update(chunk)
    except OSError as error:
        raise BundleError(f"{path}: cannot read {entry.name}: {error.strerror}") from error
    return digest.hexdigest()


def _require_hash(path: Path, name: str, found: str, expected: str) -> None:
    if found != expected:
        raise BundleError(f"{path}: {name} is not what was sealed (its SHA-256 differs); copy the bundle again")
