"""Opening and verification of a bundle."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from bertwire_runtime.bundle.errors import BundleError
from bertwire_runtime.bundle.manifest import MANIFEST, SEAL, SIGNATURE, FileEntry, Manifest
from bertwire_runtime.bundle.parse import parse_manifest, require_schema
from bertwire_runtime.bundle.plain import check_listed, read_listed, read_small
from bertwire_runtime.bundle.signature import Signature, parse_signature, require_signed


@dataclass(frozen=True, slots=True)
class Bundle:
    """An opened bundle.

    Attributes:
        manifest_bytes: the signed bytes of the manifest.
        signature: its signature; None where it is unsigned.
        trusted: whether the signature was verified with a public key.
    """

    path: Path
    manifest: Manifest
    manifest_bytes: bytes
    signature: Signature | None
    trusted: bool

    @property
    def sha256(self) -> str:
        """Return the SHA-256 of the manifest's bytes, which identifies the bundle."""
        return hashlib.sha256(self.manifest_bytes).hexdigest()

    def read(self, entry: FileEntry) -> bytes:
        """Read a listed file; raise `BundleError` unless its bytes are those that were sealed."""
        return read_listed(self.path, entry)

    def verify(self) -> None:
        """Hash every listed file; raise `BundleError` at the first that differs."""
        for entry in self.manifest.files:
            check_listed(self.path, entry)


def open_bundle(path: Path, public_key: Path | None = None) -> Bundle:
    """Open the bundle in folder `path` and verify all of it.

    Args:
        path: the folder.
        public_key: PEM file of the Ed25519 key that must have signed the bundle; None skips the signature.

    Raises:
        UserError: the key cannot be used.
        BundleError: no bundle, an unknown schema, a manifest that does not match its seal, a missing, extra, altered or
            non-regular file, or no signature by the key.
    """
    names = _names(path)
    content, sealed = read_small(path, MANIFEST), read_small(path, SEAL)
    signature = parse_signature(path, read_small(path, SIGNATURE)) if SIGNATURE in names else None
    if public_key is not None:
        # Before the manifest is parsed. Imported here: only a given key needs cryptography.
        from bertwire_runtime.bundle.keys import read_public_key

        require_signed(path, content, signature, read_public_key(public_key))
    require_schema(path, content)
    if sealed != seal_line(hashlib.sha256(content).hexdigest()):
        raise BundleError(f"{path}: {MANIFEST} does not match its seal {SEAL}; the bundle was altered, export it again")
    bundle = Bundle(path, parse_manifest(path, content), content, signature, trusted=public_key is not None)
    _require_same_files(path, names, bundle.manifest)
    bundle.verify()
    return bundle


def seal_line(digest: str) -> bytes:
    """Return the seal file's content for a manifest with this SHA-256."""
    return f"{digest}  {MANIFEST}\n".encode()


def _names(path: Path) -> set[str]:
    """Return all names in the folder, hidden ones included."""
    if not path.is_dir():
        what = "is a file and no bundle" if path.exists() else "no such bundle"
        raise BundleError(f"{path}: {what}; a bundle is a folder written by bertwire export")
    try:
        return {entry.name for entry in path.iterdir()}
    except OSError as error:
        raise BundleError(f"{path}: cannot list the bundle: {error.strerror}") from error


def _require_same_files(path: Path, found: set[str], manifest: Manifest) -> None:
    expected = {MANIFEST, SEAL, *(entry.name for entry in manifest.files)}
    if missing := sorted(expected - found):
        raise BundleError(f"{path}: {missing[0]} is missing; copy the whole bundle again")
    if added := sorted(found - expected - {SIGNATURE}):
        raise BundleError(f"{path}: {added[0]!r} does not belong to the bundle; remove it")
