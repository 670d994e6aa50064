"""Small tables on standard output."""

from collections.abc import Sequence

from bertwire_trainer.messages import say


def table(lines: Sequence[Sequence[str]]) -> None:
    """Print lines of cells in columns, the first and the last one flush left, numbers between flush right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for first, *numbers, last in lines:
        cells = [each.rjust(width) for each, width in zip(numbers, widths[1:-1], strict=True)]
        say("  ".join([first.ljust(widths[0]), *cells, last]).rstrip())


def number(value: float | None) -> str:
    """Return a figure in print; nothing for None."""
    return "" if value is None else f"{value:.4f}"
