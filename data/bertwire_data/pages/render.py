"""Render a page from a template. Needs Jinja2."""

import base64
import hashlib
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from bertwire_data.pages.display import visible

_FOLDER = Path(__file__).parent


def render(folder: Path, css: str = "", **context: Any) -> str:  # noqa: ANN401 - whatever the template reads
    """Return the page of `page.html` in a folder, which may import `macros.html`.

    Args:
        folder: of the template.
        css: rules beside those of every page.
        context: what the template reads, besides `css` and `css_hash`.
    """
    css = (_FOLDER / "style.css").read_text(encoding="utf-8") + css
    environment = Environment(
        loader=FileSystemLoader([folder, _FOLDER]),
        autoescape=True,
        # Macros return markup, which is escaped already; everything else is text from outside.
        finalize=lambda value: value if hasattr(value, "__html__") else visible(str(value)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # The one style sheet is allowed by its hash, and no other may apply, style attributes included.
    css_hash = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    return environment.get_template("page.html").render(css=css, css_hash=css_hash, **context)
