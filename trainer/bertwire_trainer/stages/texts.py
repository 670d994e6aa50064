"""Unlabelled texts of a stage."""

import hashlib
import json
from pathlib import Path
from typing import Any

from bertwire_data.texts import read_texts


def read_distinct(paths: list[Path], column: str, option: str) -> list[str]:
    """Return the distinct texts of all files, in order; arguments and errors as for `read_texts`."""
    return [*dict.fromkeys(text for path in paths for text in read_texts(path, column, option))]


def fingerprint(texts: list[str]) -> dict[str, Any]:
    """Return the number of the texts and the SHA-256 of them in order, each a JSON string and a line feed."""
    digest = hashlib.sha256()
    for text in texts:
        digest.update(json.dumps(text).encode() + b"\n")
    return {"texts": len(texts), "sha256": digest.hexdigest()}
