"""The answers of a job on disk: each distinct text once, whatever happens to the process."""

import hashlib
import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bertwire_core.errors import UserError

# A text, or a pair of texts.
Text = str | tuple[str, str]
# What is kept of a text's result, or why it has none.
Kept = tuple[str | bytes | None, str | None]

# Seconds between commits. A killed run loses at most the answers of so many; halved, twice as much is spent on them.
# They run on the event loop: 2,500 answers, of one second, take 82 ms beside a million others (AMD EPYC, Zen 4), while
# a server has the calls in flight and a bundle its thread.
_COMMIT_SECONDS = 1.0
# KiB of the database in the process; other pages are the operating system's. With 64 MiB a commit takes as long, and
# memory grows by as much; halved, 2,500 answers do not fit, and their pages are written before the commit and at it.
_CACHE_KIB = 16 << 10


def key_of(text: Text) -> bytes:
    """Return the 16 bytes under which a text's answer is kept."""
    return hashlib.blake2b(json.dumps(text).encode(), digest_size=16).digest()


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A run that did not end, or has not yet.

    Attributes:
        about: what its answers are of.
        written: absolute paths of its outputs, if they were complete and about to take their places.
        filled: whether a text has a result.
    """

    about: dict[str, Any]
    written: list[str]
    filled: bool


class Answers:
    """A SQLite database of answers by text, in which a killed process leaves all but the last second's.

    Args:
        path: the database; created where it is missing.
        about: what the answers are of. An existing database must be of the same.

    Raises:
        UserError: the database is of something else, or cannot be used.
    """

    def __init__(self, path: Path, about: dict[str, Any]) -> None:
        before = read_unfinished(path)
        if before is not None:
            _require_same(path, before.about, about)
        self._database = sqlite3.connect(path)
        self._database.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        if before is None:
            self._database.execute("CREATE TABLE IF NOT EXISTS answers (key BLOB UNIQUE, value, error TEXT)")
            self._database.execute("CREATE TABLE IF NOT EXISTS about (document TEXT, written TEXT)")
            self._database.execute("CREATE INDEX IF NOT EXISTS failed ON answers (error) WHERE error IS NOT NULL")
            self._database.execute("INSERT INTO about VALUES (?, '[]')", (json.dumps(about),))
            self._database.commit()
        # The first answers are on disk at once, so that a run that is killed again and again gets on.
        self._committed = -_COMMIT_SECONDS

    def find(self, keys: Sequence[bytes]) -> dict[bytes, Kept]:
        """Return what is kept under those keys that are known."""
        marks = ", ".join("?" * len(keys))
        found = self._database.execute(f"SELECT key, value, error FROM answers WHERE key IN ({marks})", keys)  # noqa: S608
        return {key: (value, error) for key, value, error in found}

    def add(self, answers: Iterable[tuple[bytes, Kept]]) -> None:
        """Keep answers; they are on disk a second later."""
        rows = ((key, *kept) for key, kept in answers)
        count = self._database.executemany("INSERT OR REPLACE INTO answers VALUES (?, ?, ?)", rows).rowcount
        if count and time.monotonic() - self._committed >= _COMMIT_SECONDS:
            self._commit()

    def count(self) -> int:
        """Return how many texts have a result."""
        count: int = self._database.execute("SELECT COUNT(*) FROM answers WHERE error IS NULL").fetchone()[0]
        return count

    def forget_errors(self) -> int:
        """Remove the texts that have no result, and return how many there were."""
        count = self._database.execute("DELETE FROM answers WHERE error IS NOT NULL").rowcount
        self._database.commit()
        return count

    def mark_written(self, paths: list[str]) -> None:
        """Note the absolute paths of outputs that are complete and about to take their places."""
        self._database.execute("UPDATE about SET written = ?", (json.dumps(paths),))
        self._commit()

    def _commit(self) -> None:
        self._database.commit()
        self._committed = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._database.commit()
        finally:
            self._database.close()


@contextmanager
def told_if_unusable(path: Path) -> Iterator[None]:
    """Raise `UserError` where the database `path` is damaged, locked or cannot be written, in the block."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise UserError(f"{path} cannot be used now: {error}; mend that and give the same command to go on") from error
    except sqlite3.DatabaseError as error:
        raise UserError(f"{path.parent} is damaged ({error}); remove it to start anew") from error


def read_unfinished(path: Path) -> Unfinished | None:
    """Return what a database says of its run; None where none has begun. Raise `UserError` for an unusable one."""
    if not path.exists():
        return None
    with told_if_unusable(path), closing(sqlite3.connect(path)) as database:
        # Killed before its first commit, a run leaves a database without tables or without the row.
        if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'about'").fetchone():
            return None
        found = database.execute(
            "SELECT document, written, EXISTS (SELECT 1 FROM answers WHERE error IS NULL) FROM about"
        ).fetchone()
    return None if found is None else Unfinished(json.loads(found[0]), json.loads(found[1]), bool(found[2]))


def _require_same(path: Path, before: dict[str, Any], about: dict[str, Any]) -> None:
    differing = [name for name in {**before, **about} if before.get(name) != about.get(name)]
    if differing:
        shown = ", ".join(f"{name} {_shown(before.get(name))} and not {_shown(about.get(name))}" for name in differing)
        raise UserError(
            f"{path.parent} holds the answers of an unfinished run with {shown}; repeat its command to go on, or "
            "remove that folder to start anew"
        )


def _shown(value: Any) -> str:  # noqa: ANN401 - whatever an option holds
    return json.dumps(value, ensure_ascii=False)
