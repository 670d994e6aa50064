"""Replacement of spans of a text."""

from collections.abc import Iterable

Span = tuple[int, int]


def replaced(text: str, spans: Iterable[Span], mask: str) -> str:
    """Return the text with `mask` in place of each span; spans that overlap become one.

    Args:
        text: the text.
        spans: start and end of each, sorted by start.
        mask: the replacement.
    """
    kept, end = [], 0
    for start, stop in spans:
        if start >= end:
            kept += [text[end:start], mask]
        end = max(end, stop)
    return "".join((*kept, text[end:]))
