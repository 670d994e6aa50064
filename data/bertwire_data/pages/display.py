"""Show text from outside: names, labels and messages that may hold any character."""

from rich.cells import cell_len, set_cell_size

# The joiners belong to emoji and to Persian and Indian words; every other unprintable character hides or reorders.
_JOINERS = "\u200c\u200d"


def visible(text: str) -> str:
    """Return `text` on one line, with what is unprintable (control codes, newlines, reordering marks) written out."""
    return "".join(each if each.isprintable() or each in _JOINERS else repr(each)[1:-1] for each in text)


def shortened(text: str, width: int) -> str:
    """Return `visible` text of at most `width` columns, its middle left out where it is longer."""
    shown = visible(text)
    if cell_len(shown) <= width:
        return shown
    tail = set_cell_size(shown[::-1], width // 3)[::-1].strip()
    return f"{set_cell_size(shown, width - 1 - cell_len(tail)).strip()}…{tail}"
