"""Bundle signatures: Ed25519 over `DOMAIN` and the exact bytes of `manifest.json`.

`manifest.sig` is one line: base64 of 96 bytes, the SHA-256 of the raw public key and the signature (RFC 8032). The hash
is only a hint; verification uses the public key that the user gives.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bertwire_runtime.bundle.errors import BundleError
from bertwire_runtime.bundle.manifest import MANIFEST, SIGNATURE

if TYPE_CHECKING:
    from bertwire_runtime.bundle.keys import PrivateKey, PublicKey

# Domain separation from other uses of the key and other versions of this format.
DOMAIN = b"bertwire bundle manifest v1\n"
_KEY_BYTES, _SIGNATURE_BYTES = 32, 64
# Hexadecimal digits (64 bits), for display only.
_SHORT = 16


@dataclass(frozen=True, slots=True)
class Signature:
    """The content of `manifest.sig`.

    Attributes:
        fingerprint: SHA-256 of the claimed raw public key, in hexadecimal.
        value: the signature, 64 bytes.
    """

    fingerprint: str
    value: bytes

    @property
    def key(self) -> str:
        """Return the fingerprint's short form."""
        return self.fingerprint[:_SHORT]

    def line(self) -> bytes:
        """Return the content of `manifest.sig`."""
        return base64.b64encode(bytes.fromhex(self.fingerprint) + self.value) + b"\n"


def parse_signature(path: Path, content: bytes) -> Signature:
    """Parse `manifest.sig`; raise `BundleError` where the bytes are not exactly what `line` writes."""
    try:
        decoded = base64.b64decode(content.removesuffix(b"\n"), validate=True)
    except binascii.Error:
        decoded = b""
    found = Signature(decoded[:_KEY_BYTES].hex(), decoded[_KEY_BYTES:])
    if len(found.value) != _SIGNATURE_BYTES or found.line() != content:
        raise BundleError(f"{path}: {SIGNATURE} is no signature; remove it and sign the bundle again")
    return found


def sign_manifest(manifest: bytes, key: PrivateKey) -> Signature:
    """Return the signature over a manifest's bytes."""
    return Signature(key.public.fingerprint, key.sign(DOMAIN + manifest))


def describe(signature: Signature | None, *, trusted: bool) -> str:
    """Describe a signature in words; `trusted`: it was verified with a public key."""
    if signature is None:
        return "none"
    return f"by key {signature.key}, {'valid' if trusted else 'not checked: give the --public-key'}"


def require_signed(path: Path, manifest: bytes, signature: Signature | None, key: PublicKey) -> None:
    """Raise `BundleError` unless `signature` is the key's over the manifest's bytes."""
    if signature is None:
        raise BundleError(f"{path}: the bundle is not signed; whoever made it has to sign it (bertwire bundle sign)")
    expected = key.fingerprint
    if signature.fingerprint != expected:
        raise BundleError(f"{path}: signed by key {signature.key}, not by the key that was given, {expected[:_SHORT]}")
    if not key.verifies(signature.value, DOMAIN + manifest):
        raise BundleError(
            f"{path}: {SIGNATURE} is not the signature of {MANIFEST} by key {signature.key}; "
            "the bundle was altered after it was signed"
        )
