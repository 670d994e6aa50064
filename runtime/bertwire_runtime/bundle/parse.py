"""Bytes to a manifest: JSON that reads in one way only, and a schema that this version knows."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bertwire_runtime.bundle.errors import BundleError
from bertwire_runtime.bundle.manifest import MANIFEST, READABLE_VERSIONS, Manifest


def require_schema(path: Path, content: bytes) -> None:
    """Checked before anything else of the manifest, so that a newer bundle is not called a broken one.

    Raises:
        BundleError: no JSON object in UTF-8, a key given twice, a number that is none, another schema version.
    """
    values = read_strictly(path, MANIFEST, content)
    version = values.get("schema_version") if isinstance(values, dict) else None
    if type(version) is not int or version not in READABLE_VERSIONS:
        raise BundleError(
            f"{path}: {MANIFEST} has schema version {version!r:.40}, this bertwire reads "
            f"{' and '.join(map(str, READABLE_VERSIONS))}; "
            "export the checkpoint with this version, or use the bertwire that wrote the bundle"
        )


def read_strictly(path: Path, name: str, content: bytes) -> Any:  # noqa: ANN401 - any JSON
    """Read JSON in UTF-8; raise `BundleError` where it is none, gives a key twice or holds a number that is none."""
    try:
        # Decoded here: json.loads would also take UTF-16 and UTF-32 from bytes. It refuses a byte order mark itself.
        return json.loads(content.decode(), object_pairs_hook=_distinct, parse_constant=_refuse_constant)
    except _Ambiguous as error:
        raise BundleError(f"{path}: {name} {error}; the bundle was altered, export it again") from None
    except (ValueError, RecursionError):
        raise BundleError(f"{path}: {name} is not JSON; the bundle was altered, export it again") from None


def parse_manifest(path: Path, content: bytes) -> Manifest:
    """The manifest of bytes that passed `require_schema`; raises `BundleError` at the first field that is wrong."""
    try:
        return Manifest.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "manifest"
        raise BundleError(f"{path}: {MANIFEST} is wrong at {where:.200}: {first['msg']}") from None


class _Ambiguous(Exception):
    """JSON that two readers could understand in two ways."""


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        ((twice, _),) = Counter(key for key, _ in pairs).most_common(1)
        raise _Ambiguous(f"gives {twice:.40} twice")
    return values


def _refuse_constant(name: str) -> None:
    raise _Ambiguous(f"holds {name}, which is no number")
