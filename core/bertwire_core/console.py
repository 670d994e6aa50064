"""Console output: progress for people, JSON for programs."""

import codecs
import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from time import monotonic
from typing import Any, Protocol, TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

T = TypeVar("T")

# Results on standard output, progress and messages on standard error.
out = Console()
err = Console(stderr=True)


# Seconds between progress lines in a log file, at least and at most.
_LEAST_SECONDS, _MOST_SECONDS = 2.0, 30.0


def print_json(document: Any, indent: int | None = None) -> None:  # noqa: ANN401 - whatever JSON holds
    """Print JSON to standard output, escaped to ASCII where its encoding is not UTF-8."""
    ascii_only = codecs.lookup(sys.stdout.encoding).name != "utf-8"
    print(json.dumps(document, ensure_ascii=ascii_only, indent=indent))


class Bar(Protocol):
    """The handle of a progress bar."""

    def __call__(self, completed: float, note: str = "") -> None:
        """Set the bar to `completed` and its note to `note`."""
        ...


@contextmanager
def silenced() -> Iterator[None]:
    """Print nothing on `out` and `err` within the block."""
    before = out.quiet, err.quiet
    out.quiet = err.quiet = True
    try:
        yield
    finally:
        out.quiet, err.quiet = before


@contextmanager
def progress(label: str, total: float, console: Console = err) -> Iterator[Bar]:
    """Show a progress bar on standard error; without a terminal, occasional lines."""
    if not console.is_terminal:
        lines = _Lines(label, total, console)
        try:
            yield lines
        finally:
            lines.show()
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console) as display:
        task = display.add_task(label, total=total, note="")

        def update(completed: float, note: str = "") -> None:
            display.update(task, completed=completed, note=note)

        yield update


class _Lines:
    """Progress for a log file: a line per tenth of the work or 30 seconds, and one at the end."""

    def __init__(self, label: str, total: float, console: Console) -> None:
        self._label, self._total, self._console = label, total, console
        self._started = self._shown_at = monotonic()
        self._completed = self._shown = 0.0
        self._note = ""

    def __call__(self, completed: float, note: str = "") -> None:
        self._completed, self._note = completed, note
        waited = monotonic() - self._shown_at
        tenth = completed - self._shown >= self._total / 10
        if completed < self._total and (waited >= _MOST_SECONDS or (tenth and waited >= _LEAST_SECONDS)):
            self.show()

    def show(self) -> None:
        """Print the line."""
        self._shown_at, self._shown = monotonic(), self._completed
        share = self._completed / self._total if self._total else 1.0
        passed = self._shown_at - self._started
        left = f"left {_clock(passed * (1 - share) / share)} " if 0 < share < 1 else ""
        line = f"{self._label} {share:4.0%} {_clock(passed)} {left}{self._note}"
        self._console.print(line.rstrip(), markup=False, highlight=False, soft_wrap=True)


def _clock(seconds: float) -> timedelta:
    return timedelta(seconds=round(seconds))


def tracked(items: Iterable[T], label: str, total: int) -> Iterator[T]:
    """Yield `items` under a progress bar."""
    with progress(label, total) as bar:
        for done, item in enumerate(items, 1):
            yield item
            bar(done)
