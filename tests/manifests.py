"""The manifests of deploy/kubernetes/, and the server's settings that they give."""

import re
from pathlib import Path
from typing import Any

import yaml

from bertwire_server.config import ServerConfig

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "deploy" / "kubernetes"
FILES: dict[Path, list[Any]] = {
    path: list(yaml.safe_load_all(path.read_bytes())) for path in sorted(FOLDER.rglob("*.yaml"))
}
KUSTOMIZATIONS = {path: documents[0] for path, documents in FILES.items() if path.name == "kustomization.yaml"}
# Files that no kustomization names: a pod to apply for a while, and values of another project's chart.
APART = {FOLDER / "models" / "loader.yaml", FOLDER / "components" / "autoscale-hpa" / "adapter-values.yaml"}
Manifest = dict[str, Any]


def manifest(kind: str) -> Manifest:
    """The one manifest of a kind, of files that are whole manifests and no patches."""
    named = {path.parent / name for path, each in KUSTOMIZATIONS.items() for name in each.get("resources", [])}
    found = [
        document
        for path, documents in FILES.items()
        for document in documents
        if path in named | APART and document.get("kind") == kind
    ]
    assert len(found) == 1
    return dict(found[0])


def served(arguments: list[str]) -> ServerConfig:
    """The server's settings of a container's arguments."""
    folder, *options = arguments
    pairs = (re.fullmatch(r"--([a-z-]+)=(.+)", each) for each in options)
    values = {each[1].replace("-", "_"): each[2] for each in pairs if each}
    return ServerConfig.model_validate({"bundle": folder} | values)
