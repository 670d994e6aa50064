"""Repositories of bundles for tests: copies of one tiny bundle, told apart by name, version and labels."""

import os
import shutil
from pathlib import Path
from typing import Any

from support import reseal


def put(bundle: Path, folder: Path, labels: list[str] | None = None) -> Path:
    """Copies a bundle to .../NAME/VERSION and seals it with this name and version, and with these labels."""
    shutil.copytree(bundle, folder)

    def rename(manifest: dict[str, Any]) -> None:
        manifest.update(name=folder.parent.name, version=folder.name)
        if labels is not None:
            manifest["labels"] = labels

    reseal(folder, rename)
    return folder


def damage(folder: Path) -> None:
    """Changes one byte of a bundle's graph, and not its size."""
    graph = next(folder.glob("*.onnx"))
    content = bytearray(graph.read_bytes())
    content[len(content) // 2] ^= 1
    graph.write_bytes(content)


def point(link: Path, target: Path) -> None:
    """Makes a link lead somewhere else, in one step."""
    new = link.parent / f".{link.name}.new"
    new.symlink_to(target)
    os.replace(new, link)  # noqa: PTH105 - Path.replace would follow nothing either; this is the step itself
