"""Which inputs files, folders and patterns stand for."""

import glob
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bertwire_core.errors import UserError
from bertwire_data.tables import plain_name, table_format

STDIN = Path("-")
LINES = "lines"


@dataclass(frozen=True, slots=True)
class Source:
    """One input.

    Attributes:
        path: its file; `STDIN` for standard input.
        name: its place in a folder of outputs.
    """

    path: Path
    name: Path


def is_many(paths: Sequence[Path]) -> bool:
    """Return whether paths stand for several inputs, however many they are now."""
    return len(paths) > 1 or any(path.is_dir() or _is_pattern(path) for path in paths)


def find_sources(paths: Iterable[Path], kind: str | None) -> list[Source]:
    """Return the inputs of files, folders and patterns, in order.

    Args:
        paths: as the user gave them.
        kind: the format of all inputs; None: each by its ending, by which files in folders are chosen too.

    Raises:
        UserError: a path stands for no file, or two have the same name.
    """
    found = [source for path in paths for source in _sources(path, kind)]
    name, count = Counter(source.name for source in found).most_common(1)[0]
    if count > 1:
        raise UserError(f"{count} inputs are named {name}; give the folder that holds them all")
    return found


def _sources(path: Path, kind: str | None) -> list[Source]:
    if path.is_dir():
        files = sorted(each for each in path.rglob("*") if each.is_file() and _is_table(each.relative_to(path), kind))
        found = [Source(each, _named(each.relative_to(path), kind)) for each in files]
    elif _is_pattern(path):
        matching = sorted(map(Path, glob.glob(str(path), recursive=True)))  # noqa: PTH207 - absolute patterns too
        found = [Source(each, _named(Path(each.name), kind)) for each in matching if each.is_file()]
    else:
        return [Source(path, _named(Path("stdin" if path == STDIN else path.name), kind))]
    if not found:
        raise UserError(f"{path} has no files to read; give another folder or pattern, or --format for other endings")
    return found


def _named(name: Path, kind: str | None) -> Path:
    """Return the name of an input's output, with the ending of the format in which it is read."""
    ending = f".{'jsonl' if kind == LINES else kind}"
    fits = kind is None or plain_name(name).suffix.lower() == ending
    return name if fits else name.with_name(name.name + ending)


def _is_pattern(path: Path) -> bool:
    return glob.has_magic(str(path)) and not path.exists()


def _is_table(path: Path, kind: str | None) -> bool:
    if any(part.startswith(".") for part in path.parts):
        return False
    try:
        return kind is not None or bool(table_format(plain_name(path)))
    except UserError:
        return False
