"""Ed25519 keys in PEM files, as openssl writes them. The only module that needs `cryptography`."""

import hashlib
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Never

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from bertwire_core.errors import UserError

_PRIVATE, _PUBLIC, _ENCRYPTED = b"PRIVATE KEY", b"PUBLIC KEY", b"ENCRYPTED PRIVATE KEY"
_LABEL = re.compile(rb"^-----BEGIN ([A-Z0-9 ]{1,40})-----\s*$", re.MULTILINE)
# Bytes; a key file has about 120.
_MAX_BYTES = 1 << 16
_MAKE = "openssl genpkey -algorithm ed25519 -out KEY.pem"
_TAKE = "openssl pkey -in KEY.pem -pubout -out PUBLIC.pem"


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key that verifies signatures."""

    _key: Ed25519PublicKey

    @property
    def fingerprint(self) -> str:
        """Return the SHA-256 of the raw key, in hexadecimal."""
        return hashlib.sha256(self._key.public_bytes_raw()).hexdigest()

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Whether `signature` is this key's over `message`."""
        try:
            self._key.verify(signature, message)
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """A key that signs.

    Attributes:
        exposed: whether others than the file's owner can read it.
    """

    _key: Ed25519PrivateKey
    exposed: bool

    @property
    def public(self) -> PublicKey:
        """Return the public half."""
        return PublicKey(self._key.public_key())

    def sign(self, message: bytes) -> bytes:
        """Return the signature over `message`, 64 bytes."""
        return self._key.sign(message)


def read_private_key(path: Path) -> PrivateKey:
    """Read a private key, unencrypted PKCS#8 in PEM.

    Raises:
        UserError: the file cannot be read or holds anything else.
    """
    content, mode = _read(path)
    found = _label(path, content)
    if found == _ENCRYPTED or b"\nProc-Type: 4,ENCRYPTED" in content:
        _refuse(path, "is encrypted; decrypt it first: openssl pkey -in KEY.pem -out PLAIN.pem")
    if found == _PUBLIC:
        _refuse(path, "holds a public key; give the private key to sign with")
    if found != _PRIVATE:
        _refuse(path, f"holds no private key in PKCS#8 ({found.decode()}); make one with {_MAKE}")
    try:
        key = load_pem_private_key(content, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # The library's message could quote the file.
        _refuse(path, f"is damaged or of an unknown kind; make a key with {_MAKE}")
    if not isinstance(key, Ed25519PrivateKey):
        _refuse(path, f"is a key of another algorithm than Ed25519; make one with {_MAKE}")
    return PrivateKey(key, bool(mode & (stat.S_IRGRP | stat.S_IROTH)))


def read_public_key(path: Path) -> PublicKey:
    """Read a public key, SubjectPublicKeyInfo in PEM.

    Raises:
        UserError: the file cannot be read or holds anything else.
    """
    content, _ = _read(path)
    found = _label(path, content)
    if found.endswith(_PRIVATE):
        _refuse(path, f"holds a private key, which belongs on no server; give the public key: {_TAKE}")
    if found != _PUBLIC:
        _refuse(path, f"holds no public key ({found.decode()}); take it from the private key with {_TAKE}")
    try:
        key = load_pem_public_key(content)
    except (ValueError, UnsupportedAlgorithm):
        _refuse(path, f"is damaged or of an unknown kind; take it from the private key again: {_TAKE}")
    if not isinstance(key, Ed25519PublicKey):
        _refuse(path, "is a key of another algorithm than Ed25519; give the public key of an Ed25519 key")
    return PublicKey(key)


def _read(path: Path) -> tuple[bytes, int]:
    """Return a key file's content and mode bits."""
    try:
        with path.open("rb") as file:
            return file.read(_MAX_BYTES), os.fstat(file.fileno()).st_mode
    except OSError as error:
        raise UserError(f"{path}: cannot read the key: {error.strerror}") from error


def _label(path: Path, content: bytes) -> bytes:
    """Return the label of the file's one PEM block."""
    labels: list[bytes] = _LABEL.findall(content)
    if not labels:
        _refuse(path, f"is no key in PEM; make one with {_MAKE}")
    if len(labels) > 1:
        _refuse(path, "holds more than one PEM block; give a file with the one key")
    return labels[0]


def _refuse(path: Path, fault: str) -> Never:
    raise UserError(f"{path} {fault}")
