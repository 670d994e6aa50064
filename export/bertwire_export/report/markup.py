"""HTML as a tree: text enters it only as text, so nothing that a label holds can become markup."""

import unicodedata
from collections.abc import Iterable, Sequence
from xml.etree.ElementTree import Element

# The joiners belong to emoji and to Persian and Indian words; every other unprintable character hides or reorders.
_JOINERS = "\u200c\u200d"


def visible(text: str) -> str:
    """`text` on one line, with what is unprintable (control codes, newlines, reordering marks) written out."""
    return "".join(each if each.isprintable() or each in _JOINERS else repr(each)[1:-1] for each in text)


def shortened(text: str, width: int) -> str:
    """`visible` text of at most `width` columns, its middle left out where it is longer."""
    shown = visible(text)
    if _columns(shown) <= width:
        return shown
    tail = _fitting(reversed(shown), width // 3)[::-1]
    return _fitting(shown, width - 1 - _columns(tail)) + "…" + tail


def _fitting(characters: Iterable[str], width: int) -> str:
    kept = ""
    for each in characters:
        if _columns(kept + each) > width:
            break
        kept += each
    return kept


def _columns(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(each) in "WF" else 1 for each in text)


def element(tag: str, *children: Element | str, **attributes: str) -> Element:
    """An element with its children; strings become `visible` text. An attribute's trailing underscore is dropped."""
    made = Element(tag, {name.rstrip("_"): visible(value) for name, value in attributes.items()})
    for child in children:
        if isinstance(child, Element):
            made.append(child)
        elif len(made):
            made[-1].tail = (made[-1].tail or "") + visible(child)
        else:
            made.text = (made.text or "") + visible(child)
    return made


def name(text: str) -> Element:
    """A label or another name from outside, kept apart from the direction of the words around it."""
    return element("bdi", text)


def table(head: Sequence[str], rows: Iterable[Sequence[Element | str]]) -> Element:
    """A table that scrolls sideways where it is too wide. Cells of strings are numbers, cells of elements are words."""
    lines = list(rows)
    return scrolling(element("table", header(head, lines[0]), element("tbody", *(row(each) for each in lines))))


def header(head: Sequence[str], below: Sequence[Element | str]) -> Element:
    """The head of a table; each title stands above the cells `below` it as they are aligned."""
    titles = zip(head, below, strict=True)
    return element(
        "thead", element("tr", *(element("th", title, class_=_kind(cell), scope="col") for title, cell in titles))
    )


def row(cells: Iterable[Element | str]) -> Element:
    """One line of a table."""
    return element("tr", *(element("td", cell, class_=_kind(cell)) for cell in cells))


def _kind(cell: Element | str) -> str:
    return "n" if isinstance(cell, str) else "w"


def scrolling(content: Element) -> Element:
    """`content` in a box that scrolls sideways, so that the page does not."""
    return element("div", content, class_="scroll")
