"""Replaces parts of a text."""

from collections.abc import Iterable

Span = tuple[int, int]


def replaced(text: str, spans: Iterable[Span], mask: str) -> str:
    """The text with `mask` for each part; parts that overlap become one.

    Args:
        text: the text.
        spans: start and end of each part, in order of their starts.
        mask: what stands for a part.
    """
    kept, end = [], 0
    for start, stop in spans:
        if start >= end:
            kept += [text[end:start], mask]
        end = max(end, stop)
    return "".join((*kept, text[end:]))
