"""What a person sees while a command works."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

T = TypeVar("T")

# Results go to standard output, everything about the way there to standard error.
out = Console()
err = Console(stderr=True)


class Bar(Protocol):
    """A progress bar's handle."""

    def __call__(self, completed: float, note: str = "") -> None:
        """Moves the bar to `completed` and shows `note` beside it."""
        ...


@contextmanager
def progress(label: str, total: float) -> Iterator[Bar]:
    """Shows a bar on standard error until the block ends; where that is no terminal, one line at the end."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=err) as display:
        task = display.add_task(label, total=total, note="")

        def update(completed: float, note: str = "") -> None:
            display.update(task, completed=completed, note=note)

        yield update


def tracked(items: Iterable[T], label: str, total: int) -> Iterator[T]:
    """Yields `items` under a progress bar."""
    with progress(label, total) as bar:
        for done, item in enumerate(items, 1):
            yield item
            bar(done)
