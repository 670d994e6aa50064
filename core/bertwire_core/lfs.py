"""Detection of files that Git LFS has not fetched."""

from pathlib import Path

from bertwire_core.errors import UserError

# First line of a pointer: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md
_POINTER = b"version https://git-lfs.github.com/spec/"


def require_fetched(*files: Path) -> None:
    """Raise `UserError` where an existing file is a Git LFS pointer."""
    for path in files:
        if path.is_file() and _starts(path) == _POINTER:
            raise UserError(
                f"{path} is a Git LFS pointer and not the file itself; fetch it with git lfs pull in its repository"
            )


def _starts(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(len(_POINTER))
