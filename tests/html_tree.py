"""Pages of reports as trees."""

from html.parser import HTMLParser
from pathlib import Path
from xml.etree.ElementTree import Element, TreeBuilder

_VOID = {"meta", "img"}


class _Tree(HTMLParser):
    """Reads a page as a browser does, and holds it as a tree."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.builder = TreeBuilder()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Opens an element."""
        self.builder.start(tag, {name: value or "" for name, value in attrs})
        if tag in _VOID:
            self.builder.end(tag)

    def handle_endtag(self, tag: str) -> None:
        """Closes an element; a misnested one would not be the last that was opened."""
        assert self.builder.end(tag).tag == tag

    def handle_data(self, data: str) -> None:
        """Adds text."""
        self.builder.data(data)


def parse(path: Path) -> Element:
    """The tree of a page."""
    tree = _Tree()
    tree.feed(path.read_text(encoding="utf-8").removeprefix("<!DOCTYPE html>\n"))
    tree.close()
    return tree.builder.close()


def text_of(node: Element) -> str:
    """The text of an element and of all below it."""
    return "".join(node.itertext())
