"""Where a job's files are written until they are whole: one file, or a folder with one for each input."""

import secrets
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from bertwire_core.files import publish_file, publish_folder, scratch_folder, whole_file
from bertwire_data.tables import compress, is_compressed


@contextmanager
def staged(path: Path, place: Path, *, many: bool) -> Iterator[Path]:
    """Yield `place`, on the disk of `path`, whose file or folder becomes `path` when the block succeeds.

    It is where a killed run leaves it, so that the next one replaces it.
    """
    if not many:
        yield place
        publish_file(place, path)
        return
    place.mkdir()
    yield place
    _publish_files(place, path)


@contextmanager
def whole(path: Path, *, many: bool) -> Iterator[Path]:
    """Yield a place that becomes the file or folder `path` when the block succeeds."""
    if not many:
        with whole_file(path) as place:
            yield place
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with scratch_folder(path) as place:
        yield place
        _publish_files(place, path)


def _publish_files(place: Path, path: Path) -> None:
    """Make a folder `path`; where it is one already, replace only the files of the same names in it."""
    if not path.is_dir():
        publish_folder(place, path, overwrite=True)
        return
    for file in sorted(each for each in place.rglob("*") if each.is_file()):
        target = path / file.relative_to(place)
        target.parent.mkdir(parents=True, exist_ok=True)
        publish_file(file, target)


class Places:
    """The files of one output, begun with the first of them.

    Args:
        stack: the files take their places when it ends without an error.
        path: the output.
        root: yields where it is written until then.
        scratch: a folder for the plain form of compressed files.
        many: whether it is a folder.
    """

    def __init__(
        self, stack: ExitStack, path: Path, root: AbstractContextManager[Path], scratch: Path, *, many: bool
    ) -> None:
        self._stack, self._path, self._begin, self._scratch, self._many = stack, path, root, scratch, many
        self._root: Path | None = None

    @contextmanager
    def file(self, name: Path) -> Iterator[Path]:
        """Yield where to write the table of an input; `name` is its place in a folder."""
        if self._root is None:
            self._root = self._stack.enter_context(self._begin)
        place, called = (self._root / name, name) if self._many else (self._root, self._path)
        place.parent.mkdir(parents=True, exist_ok=True)
        if not is_compressed(called):
            yield place
            return
        plain = self._scratch / f"output-{secrets.token_hex(8)}"
        yield plain
        compress(plain, place, called.suffix)
        plain.unlink()
