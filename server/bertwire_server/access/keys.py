"""API keys: generation, and authentication by the hashes in a file.

The file is TOML with one table a key; `expires`, `rate`, `burst` and `concurrency` may be left out:

    [[keys]]
    client = "billing"
    scopes = ["infer"]
    sha256 = "<64 hexadecimal digits>"
    expires = 2030-01-01T00:00:00Z
    rate = 100.0
    burst = 200
    concurrency = 32

A key has 256 random bits, which cannot be guessed, so that a fast hash protects it as well as a slow one for passwords.
"""

import hashlib
import hmac
import secrets
import time
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import AwareDatetime, Field, ValidationError, field_validator

from bertwire_core.errors import UserError, first_line
from bertwire_core.options import Config, stray
from bertwire_server.access.identity import Identity, Limits
from bertwire_server.access.watched import read_bytes

PREFIX = "bw_"
_RANDOM_BYTES = 32
CLIENT_PATTERN = r"^[\w.@:/+-]{1,128}$"


class _Entry(Config):
    client: str = Field(pattern=CLIENT_PATTERN)
    scopes: frozenset[Literal["infer", "admin"]] = Field(min_length=1)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    expires: AwareDatetime | None = None
    rate: float | None = Field(None, gt=0)
    burst: int | None = Field(None, ge=1)
    concurrency: int | None = Field(None, ge=1)

    @field_validator("sha256", mode="before")
    @classmethod
    def _no_key(cls, value: object) -> object:
        if isinstance(value, str) and value.startswith(PREFIX):
            raise ValueError("holds a key itself, which belongs in no file of the server; put its SHA-256 there")
        return value

    def limits(self, default: Limits) -> Limits:
        rate = self.rate or default.rate
        burst = self.burst or (max(1.0, self.rate) if self.rate else default.burst)
        return Limits(rate, burst, self.concurrency or default.concurrency)


class _File(Config):
    keys: tuple[_Entry, ...]


@dataclass(frozen=True, slots=True)
class _Known:
    digest: bytes
    expires: float
    identity: Identity


class Keys:
    """Keys of one version of the file, by hash."""

    def __init__(self, known: Mapping[bytes, _Known]) -> None:
        self._known = known

    def identity(self, key: str) -> Identity | None:
        """Return the client whose key it is; None where it is unknown or has expired."""
        digest = hashlib.sha256(key.encode(errors="replace")).digest()
        # A dict compares digests only where their randomized hashes are equal, so its timing reveals nothing of a key;
        # the final comparison takes constant time.
        known = self._known.get(digest)
        if known is None or not hmac.compare_digest(known.digest, digest) or known.expires <= time.time():
            return None
        return known.identity


def new_key() -> str:
    """Return a new random key."""
    return PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)


def key_hash(key: str) -> str:
    """Return the SHA-256 of a key, in hexadecimal digits, as the file holds it."""
    return hashlib.sha256(key.encode()).hexdigest()


def read_keys(path: Path, default: Limits) -> Keys:
    """Read a keys file.

    Args:
        path: the file.
        default: limits of clients without limits of their own.

    Raises:
        UserError: the file cannot be read or is invalid.
    """
    known: dict[bytes, _Known] = {}
    limits: dict[str, Limits] = {}
    for index, entry in enumerate(_parsed(path).keys):
        digest = bytes.fromhex(entry.sha256)
        if digest in known:
            raise UserError(f"{path}: keys[{index}] is there twice; give each key to one client")
        own = entry.limits(default)
        # Keys of one client share one object: `Accounts.of` compares limits by identity.
        identity = Identity(entry.client, frozenset(entry.scopes), limits.setdefault(entry.client, own))
        if identity.limits != own:
            raise UserError(f"{path}: the keys of client {entry.client!r} differ in limits; a client has one of each")
        expires = entry.expires.timestamp() if entry.expires else float("inf")
        known[digest] = _Known(digest, expires, identity)
    return Keys(known)


def _parsed(path: Path) -> _File:
    try:
        content: dict[str, Any] = tomllib.loads(read_bytes(path).decode())
        return _File(**content)
    except ValidationError as error:
        detail = error.errors(include_input=False)[0]
        place = "".join(f"[{each}]" if isinstance(each, int) else f".{each}" for each in detail["loc"])
        fault = detail["msg"].removeprefix("Value error, ")
        if detail["type"] == "extra_forbidden":
            fault = stray(str(detail["loc"][-1]), _Entry if len(detail["loc"]) > 1 else _File)
        elif detail["type"] == "missing":
            fault = "is missing"
        raise UserError(f"{path}: {place.lstrip('.')}: {fault}; bertwire keys new prints an entry") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not TOML: {first_line(error)}") from None
