"""The bundle format, written by export and read by the server.

Needs only the standard library and pydantic; `bundle.keys`, imported only where a key is given, needs cryptography.
"""

from bertwire_runtime.bundle.errors import BundleError
from bertwire_runtime.bundle.manifest import (
    SCHEMA_VERSION,
    Abstention,
    Calibration,
    Candidate,
    Embedding,
    FileEntry,
    Identifier,
    Manifest,
    Provenance,
    Reference,
    Split,
    Variant,
)
from bertwire_runtime.bundle.proof import AGREEMENT, Agreement, GateLimits, Proof, Provider, Quality, Scores, Speed
from bertwire_runtime.bundle.reader import Bundle, open_bundle
from bertwire_runtime.bundle.writer import add_file, seal

__all__ = [
    "AGREEMENT",
    "SCHEMA_VERSION",
    "Abstention",
    "Agreement",
    "Bundle",
    "BundleError",
    "Calibration",
    "Candidate",
    "Embedding",
    "FileEntry",
    "GateLimits",
    "Identifier",
    "Manifest",
    "Proof",
    "Provenance",
    "Provider",
    "Quality",
    "Reference",
    "Scores",
    "Speed",
    "Split",
    "Variant",
    "add_file",
    "open_bundle",
    "seal",
]
