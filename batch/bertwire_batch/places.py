"""Where a job's files are written until they are whole: one file, or a folder with one for each input."""

import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bertwire_core.files import whole_file, whole_folder
from bertwire_data.tables import compress, is_compressed


class Places:
    """The files of one output, begun with the first of them.

    Args:
        stack: the files take their places when it ends without an error.
        path: the output.
        many: whether it is a folder.
        scratch: a folder for the plain form of compressed files.
    """

    def __init__(self, stack: ExitStack, path: Path, scratch: Path, *, many: bool) -> None:
        self._stack, self._path, self._scratch, self._many = stack, path, scratch, many
        self._root: Path | None = None

    @contextmanager
    def file(self, name: Path) -> Iterator[Path]:
        """Yield where to write the table of an input; `name` is its place in a folder."""
        if self._root is None:
            whole = whole_folder(self._path, overwrite=True) if self._many else whole_file(self._path)
            self._root = self._stack.enter_context(whole)
        place, called = (self._root / name, name) if self._many else (self._root, self._path)
        place.parent.mkdir(parents=True, exist_ok=True)
        if not is_compressed(called):
            yield place
            return
        self._scratch.mkdir(parents=True, exist_ok=True)
        plain = self._scratch / f"output-{secrets.token_hex(8)}"
        yield plain
        compress(plain, place, called.suffix)
        plain.unlink()
