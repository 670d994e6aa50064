"""Files and folders of a job as Ray has them: local paths, or URIs of object stores."""

import re
from pathlib import Path

import pyarrow
from pyarrow.fs import FileSelector, FileSystem, FileType

from bertwire_core.errors import UserError, first_line

_URI = re.compile(r"([a-z][a-z0-9+.-]+):/+(.*)")


def place_of(path: Path) -> str:
    """Return a path as Ray takes it: absolute, or a URI with its two slashes, of which `Path` keeps one."""
    found = _URI.fullmatch(path.as_posix())
    if found is None:
        return str(path.absolute())
    scheme, rest = found.groups()
    return f"/{rest}" if scheme == "file" else f"{scheme}://{rest}"


class Folder:
    """A folder on a disk that all nodes share, or in an object store."""

    def __init__(self, place: str) -> None:
        """Connect to its store; raise `UserError` where that is not known."""
        try:
            self._system, self._path = FileSystem.from_uri(place)
        except (pyarrow.ArrowException, OSError) as error:
            raise UserError(f"{place}: {first_line(error)}") from None
        self.place = place

    def files(self) -> list[str]:
        """Return the files in it and below, relative to it; none where there is no such folder."""
        found = self._system.get_file_info(FileSelector(self._path, recursive=True, allow_not_found=True))
        return [each.path.removeprefix(self._path).lstrip("/") for each in found if each.type == FileType.File]

    def remove(self) -> None:
        """Remove the folder, if there is one."""
        if self._system.get_file_info(self._path).type == FileType.Directory:
            self._system.delete_dir(self._path)
