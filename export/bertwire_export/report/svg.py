"""From a matplotlib figure to an SVG element that follows the page's colours and needs no style attribute."""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from xml.etree.ElementTree import Element, fromstring

from matplotlib import style
from matplotlib.figure import Figure

# Drawn by matplotlib as a colour like any other, and by the browser in the page's own text colour, light or dark.
INK = "#010203"
BLUE, ORANGE, RED = "#2b83c6", "#e08214", "#d73a49"

_STYLE: dict[str, object] = {
    "svg.fonttype": "none",  # text stays text: small, searchable, and in the reader's own fonts for any script
    "svg.hashsalt": "bertwire",
    "text.parse_math": False,  # a label may hold dollar signs
    "axes.formatter.useoffset": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.dpi": 72,
    "font.size": 10,
    "grid.alpha": 0.15,
    "grid.color": INK,
    "legend.frameon": False,
    **dict.fromkeys(("axes.edgecolor", "axes.labelcolor", "axes.titlecolor", "text.color"), INK),
    **dict.fromkeys(("xtick.color", "ytick.color", "patch.edgecolor", "legend.labelcolor"), INK),
    **dict.fromkeys(("axes.facecolor", "figure.facecolor", "savefig.facecolor"), "none"),
}
_NUMBER = re.compile(r"-?\d+\.\d+")
_REFERENCE = re.compile(r"#([\w-]+)")
_FONT_SIZE = re.compile(r"[\d.]+px")
# Not attributes in SVG, or the page's own business.
_DROPPED = {"font", "font-family", "white-space"}


@contextmanager
def plot_style() -> Iterator[None]:
    """The look of every plot, whatever the machine's own matplotlib settings are. Figures are made and saved in it."""
    with style.context(["default", _STYLE]), warnings.catch_warnings():
        # matplotlib only measures the text here; the browser draws it, with fonts that have the glyphs.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from", category=UserWarning)
        warnings.filterwarnings("ignore", message=r"Matplotlib currently does not support", category=UserWarning)
        yield


def inline_svg(figure: Figure, key: str, description: str) -> Element:
    """The figure as an SVG element.

    Args:
        figure: made within `plot_style`.
        key: its name in the page; all of its ids begin with it, so that those of two plots never meet.
        description: for readers who do not see it.
    """
    stream = BytesIO()
    figure.savefig(stream, format="svg", metadata={"Date": None}, bbox_inches="tight", pad_inches=0.1)
    root = fromstring(stream.getvalue())  # noqa: S314 - matplotlib wrote it just now
    for parent in root.iter():
        for child in list(parent):
            if _local(child.tag) in ("metadata", "style"):
                parent.remove(child)
    for each in root.iter():
        _simplify(each, key)
    _drop_unused_ids(root)
    width = root.attrib["width"].removesuffix("pt")
    root.attrib = {
        "viewBox": root.attrib["viewBox"],
        "width": f"{float(width) * 4 / 3:.0f}",
        "role": "img",
        "aria-label": description,
        "stroke-linejoin": "round",
        "stroke-linecap": "butt",
    }
    return root


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


def _simplify(each: Element, key: str) -> None:
    """Takes namespaces, style attributes and needless digits off one element; an HTML parser wants none of them."""
    each.tag = _local(each.tag)
    attributes = {_local(attribute): value for attribute, value in each.attrib.items()}
    for declaration in filter(None, attributes.pop("style", "").split(";")):
        attribute, _, value = (part.strip() for part in declaration.partition(":"))
        if attribute == "font" and (size := _FONT_SIZE.search(value)):
            attributes["font-size"] = size[0]
        if attribute not in _DROPPED:
            attributes[attribute] = "currentColor" if value == INK else value
    for attribute, value in attributes.items():
        if attribute in ("d", "x", "y", "transform"):
            attributes[attribute] = " ".join(_NUMBER.sub(_rounded, value).split())
        elif attribute == "id":
            attributes[attribute] = f"{key}-{value}"
        elif value.startswith(("#", "url(#")) and attribute in ("href", "clip-path"):
            attributes[attribute] = _REFERENCE.sub(rf"#{key}-\1", value)
    if attributes.get("transform", "").startswith("rotate(-0 "):
        del attributes["transform"]
    each.attrib = attributes
    if each.tag != "text":
        each.text = None
    each.tail = None


def _rounded(match: re.Match[str]) -> str:
    return f"{float(match[0]):.2f}".rstrip("0").rstrip(".")


def _drop_unused_ids(root: Element) -> None:
    values = (each.get(attribute, "") for each in root.iter() for attribute in ("href", "clip-path"))
    used = {found[1] for value in values if (found := _REFERENCE.search(value))}
    for each in root.iter():
        if each.get("id") not in used:
            each.attrib.pop("id", None)
