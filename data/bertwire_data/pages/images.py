"""Turn figures into images that a page holds. Needs matplotlib."""

import base64
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO

from matplotlib import style
from matplotlib.figure import Figure
from matplotlib.text import Text

_STYLE = {
    "svg.fonttype": "none",  # text stays text: small, and in the reader's own fonts for any script
    "svg.hashsalt": "bertwire",  # without one the ids differ from run to run
    "text.parse_math": False,  # a label may hold dollar signs
    "axes.formatter.useoffset": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}


@contextmanager
def drawing() -> Iterator[None]:
    """Draw in the reports' style within the block."""
    with style.context(["default", _STYLE]), warnings.catch_warnings():
        # matplotlib only measures the text here; the browser draws it, with fonts that have the glyphs.
        warnings.filterwarnings("ignore", r"Glyph .* missing from|Matplotlib currently does not support", UserWarning)
        yield


def image(figure: Figure) -> str:
    """Return a figure as an SVG image in a `data:` address; draw and call it within `drawing`."""
    stream = BytesIO()
    # Where a font lacks glyphs their widths are not known, and the browser's may be wider.
    plain = all(text.get_text().isascii() for text in figure.findobj(Text))
    metadata = {"Date": None, "Creator": None}
    figure.savefig(stream, format="svg", metadata=metadata, bbox_inches="tight", pad_inches=0.2 if plain else 0.9)
    return f"data:image/svg+xml;base64,{base64.b64encode(stream.getvalue()).decode()}"
