"""Strict parsing of manifests."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bertwire_runtime.bundle.errors import BundleError
from bertwire_runtime.bundle.manifest import MANIFEST, READABLE_VERSIONS, Manifest


def require_schema(path: Path, content: bytes) -> None:
    """Check the schema version before any other field, so that a newer bundle is not reported as broken.

    Raises:
        BundleError: no UTF-8 JSON object, a duplicate key, NaN or infinity, or another schema version.
    """
    values = read_strictly(path, MANIFEST, content)
    version = values.get("schema_version") if isinstance(values, dict) else None
    if type(version) is not int or version not in READABLE_VERSIONS:
        raise BundleError(
            f"{path}: {MANIFEST} has schema version {version!r:.40}, this bertwire reads "
            f"{', '.join(map(str, READABLE_VERSIONS))}; "
            "export the checkpoint with this version, or use the bertwire that wrote the bundle"
        )


def read_strictly(path: Path, name: str, content: bytes) -> Any:  # noqa: ANN401 - any JSON
    """Read UTF-8 JSON; raise `BundleError` where it is invalid, or has a duplicate key, NaN or infinity."""
    try:
        # json.loads would also accept UTF-16 and UTF-32 bytes; it refuses a byte order mark itself.
        return json.loads(content.decode(), object_pairs_hook=_distinct, parse_constant=_refuse_constant)
    except _Ambiguous as error:
        raise BundleError(f"{path}: {name} {error}; the bundle was altered, export it again") from None
    except (ValueError, RecursionError):
        raise BundleError(f"{path}: {name} is not JSON; the bundle was altered, export it again") from None


def parse_manifest(path: Path, content: bytes) -> Manifest:
    """Return the manifest of bytes that passed `require_schema`; raise `BundleError` at the first invalid field."""
    try:
        return Manifest.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "manifest"
        raise BundleError(f"{path}: {MANIFEST} is wrong at {where:.200}: {first['msg']}") from None


class _Ambiguous(Exception):
    """JSON that parsers may read differently."""


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        ((twice, _),) = Counter(key for key, _ in pairs).most_common(1)
        raise _Ambiguous(f"gives {twice:.40} twice")
    return values


def _refuse_constant(name: str) -> None:
    raise _Ambiguous(f"holds {name}, which is no number")
