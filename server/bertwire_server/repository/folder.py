"""Finds bundles in folders. Looks at names and times only; nothing that it finds is trusted.

A repository is a folder of bundles, REPOSITORY/NAME/VERSION/, named as their manifests name them. A folder may be a
link to one, so that a version can be exchanged in one step. Names that begin with a dot, and files, are passed over.
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

# As `Identifier` of the manifest.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
# For each file its name, time of change, size and inode; the inode tells a file that was renamed into its place.
Stamp = tuple[tuple[str, int, int, int], ...]


@dataclass(frozen=True, slots=True)
class Found:
    """A folder that should hold a bundle.

    Attributes:
        name: the model's name, as the folder says.
        version: its version, as the folder says.
        path: the folder.
        stamp: changes whenever a file in it does.
        bundle: the bundle, where it is verified already.
    """

    name: str
    version: str
    path: Path
    stamp: Stamp
    bundle: Bundle | None = None

    @property
    def key(self) -> Key:
        """Name and version."""
        return self.name, self.version


@dataclass(frozen=True, slots=True)
class Scan:
    """What a look at the source found.

    Attributes:
        found: folders by name and version.
        settings: what is set of them.
    """

    found: dict[Key, Found]
    settings: Settings

    def versions(self, name: str) -> list[str]:
        """The versions of a model."""
        return [version for each, version in self.found if each == name]


class Source(Protocol):
    """Where bundles come from.

    Attributes:
        path: the folder.
    """

    @property
    def path(self) -> Path: ...  # noqa: D102

    def scan(self) -> Scan:
        """Looks at all of it, blocking; raises `UserError` where that cannot be done."""

    def stamp(self) -> object:
        """Something that changes whenever a scan would; raises `OSError` where it cannot be looked at."""


class Repository:
    """A folder of bundles.

    Attributes:
        path: the folder.
    """

    def __init__(self, path: Path, default_model: str | None) -> None:
        """Looks at nothing yet.

        Args:
            path: the folder.
            default_model: the default model, whatever `models.toml` says.
        """
        self.path, self._default_model = path, default_model

    def scan(self) -> Scan:
        """Looks at every model and version, and reads `models.toml`."""
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
        """All stamps, and that of `models.toml`."""
        return [(each.key, each.stamp) for each in self._find()], _stamp_of(self.path / FILE)

    def _find(self) -> Iterator[Found]:
        for model in _folders(self.path):
            for version in _folders(model):
                yield Found(model.name, version.name, version, _stamp(version))


class SingleBundle:
    """A folder that is a bundle itself.

    Attributes:
        path: the folder.
    """

    def __init__(self, path: Path, public_key: Path | None, default_model: str | None) -> None:
        """As `Repository`, and the key that must have signed the bundle."""
        self.path, self._public_key, self._default_model = path, public_key, default_model

    def scan(self) -> Scan:
        """Verifies the bundle: no folder's name says what it is."""
        stamp = _stamp(self.path)
        bundle = open_bundle(self.path, self._public_key)
        if self._default_model not in (None, bundle.manifest.name):
            raise UserError(f"--default-model: the bundle is of the model {bundle.manifest.name!r}")
        found = Found(bundle.manifest.name, bundle.manifest.version, self.path, stamp, bundle)
        return Scan({found.key: found}, Settings())

    def stamp(self) -> object:
        """The bundle's."""
        return _stamp(self.path)


def open_source(path: Path, public_key: Path | None, default_model: str | None) -> Source:
    """What is at a path: a bundle, or a repository of them; raises `UserError` where it is neither.

    Args:
        path: the folder.
        public_key: what a bundle must be signed by.
        default_model: of a repository, the default model, whatever `models.toml` says.
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
    """The folders, and links to folders, whose names can be a model's or a version's."""
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
