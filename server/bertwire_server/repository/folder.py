"""Discovery of bundles in folders, by names and modification times; contents are not trusted.

A repository has a bundle in each REPOSITORY/NAME/VERSION/, named as in its manifest. Folders may be links, so that a
version can be replaced atomically. Files and names with a leading dot are ignored.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bertwire_core.errors import UserError
from bertwire_runtime.bundle import Bundle, BundleError, open_bundle
from bertwire_runtime.bundle.manifest import MANIFEST, SEAL
from bertwire_server.repository.entry import Key
from bertwire_server.repository.settings import FILE, Settings, read_settings

# Pattern of the manifest's `Identifier`.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
# Per file name, modification time, size and inode; the inode reveals a file that was renamed over another.
Stamp = tuple[tuple[str, int, int, int], ...]


@dataclass(frozen=True, slots=True)
class Found:
    """A folder that should hold a bundle.

    Attributes:
        name: the model's name, from the folder.
        version: its version, from the folder.
        stamp: changes with any file in it.
        bundle: the bundle, where already verified.
    """

    name: str
    version: str
    path: Path
    stamp: Stamp
    bundle: Bundle | None = None

    @property
    def key(self) -> Key:
        """Return name and version."""
        return self.name, self.version


@dataclass(frozen=True, slots=True)
class Scan:
    """The result of a scan.

    Attributes:
        found: folders by name and version.
    """

    found: dict[Key, Found]
    settings: Settings

    def versions(self, name: str) -> list[str]:
        """Return the versions of a model."""
        return [version for each, version in self.found if each == name]


class Source(Protocol):
    """A source of bundles."""

    @property
    def path(self) -> Path: ...  # noqa: D102

    def scan(self) -> Scan:
        """Scan the source, blocking; raise `UserError` where it is unusable."""

    def stamp(self) -> object:
        """Return a value that changes with the scan's result; raise `OSError` where the source is unreadable."""


class Repository:
    """A repository of bundles."""

    def __init__(self, path: Path, default_model: str | None) -> None:
        self.path, self._default_model = path, default_model

    def scan(self) -> Scan:
        """Find all models and versions, and read `models.toml`."""
        settings = read_settings(self.path)
        default = self._default_model
        try:
            found = {each.key: each for each in self._find()}
        except OSError as error:
            raise UserError(f"{self.path}: cannot list the repository: {error.strerror}") from error
        held: dict[str, list[str]] = {}
        for name, version in found:
            held.setdefault(name, []).append(version)
        if faults := settings.faults(held):
            raise UserError(f"{self.path / FILE}: {'; '.join(faults)}")
        if default is not None and default not in held:
            raise UserError(f"--default-model: the repository has no model {default!r}")
        return Scan(found, settings if default is None else settings.with_default(default))

    def stamp(self) -> object:
        """Return the stamps of all bundles and of `models.toml`."""
        return [(each.key, each.stamp) for each in self._find()], _stamp_of(self.path / FILE)

    def _find(self) -> Iterator[Found]:
        for model in _folders(self.path):
            for version in _folders(model):
                yield Found(model.name, version.name, version, _stamp(version))


class SingleBundle:
    """A folder that is a bundle itself."""

    def __init__(self, path: Path, public_key: Path | None, default_model: str | None) -> None:
        self.path, self._public_key, self._default_model = path, public_key, default_model

    def scan(self) -> Scan:
        """Open and verify the bundle, whose manifest alone has its name."""
        stamp = _stamp(self.path)
        bundle = open_bundle(self.path, self._public_key)
        if self._default_model not in (None, bundle.manifest.name):
            raise UserError(f"--default-model: the bundle is of the model {bundle.manifest.name!r}")
        found = Found(bundle.manifest.name, bundle.manifest.version, self.path, stamp, bundle)
        return Scan({found.key: found}, Settings())

    def stamp(self) -> object:
        """Return the bundle's stamp."""
        return _stamp(self.path)


def open_source(path: Path, public_key: Path | None, default_model: str | None) -> Source:
    """Open a path as a bundle or a repository; raise `UserError` where it is neither.

    `default_model` replaces the one in `models.toml`.
    """
    if not path.is_dir():
        what = "is a file and no bundle" if path.exists() else "no such bundle"
        raise BundleError(f"{path}: {what}; give a folder written by bertwire export, or a repository of them")
    if any((path / each).exists() for each in (MANIFEST, SEAL)):
        return SingleBundle(path, public_key, default_model)
    repository = Repository(path, default_model)
    if not repository.scan().found:
        if inner := [each for each in _folders(path) if (each / MANIFEST).exists()]:
            raise BundleError(
                f"{path}: holds the bundle {inner[0].name}; serve {inner[0]}, or make {path}/NAME/VERSION/ of it"
            )
        raise BundleError(
            f"{path}: {MANIFEST} is missing, so it is no bundle, and there is no {path.name}/NAME/VERSION/ with one, "
            "so it is no repository either"
        )
    return repository


def _folders(parent: Path) -> list[Path]:
    """Return the folders, links included, whose names are valid for a model or version."""
    with os.scandir(parent) as entries:
        return sorted(Path(each.path) for each in entries if _NAME.fullmatch(each.name) and each.is_dir())


def _stamp(folder: Path) -> Stamp:
    try:
        files = sorted(folder.iterdir())
    except OSError:
        return ()
    return tuple(_stamp_of(each) for each in files)


def _stamp_of(path: Path) -> tuple[str, int, int, int]:
    try:
        status = path.stat()
    except OSError:
        return path.name, 0, 0, 0
    return path.name, status.st_mtime_ns, status.st_size, status.st_ino
