"""Write the report of a bundle: one HTML file that loads nothing else."""

import base64
import hashlib
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from bertwire_core.files import whole_file
from bertwire_export.display import visible
from bertwire_export.evidence import Evidence
from bertwire_export.report.context import report_context
from bertwire_runtime.bundle.manifest import Manifest

_FOLDER = Path(__file__).parent


def write_report(path: Path, manifest: Manifest, evidence: Evidence, *, seal: str) -> None:
    """Write the report of a bundle as one HTML file, whole or not at all. The same input gives the same bytes.

    Args:
        path: the file.
        manifest: the bundle's.
        evidence: the measurements that the page shows beside it.
        seal: SHA-256 of the manifest, by which a reader knows the bundle that the report is about.

    Raises:
        UserError: `path` is a folder.
    """
    from bertwire_export.report.plots import draw_plots  # imports matplotlib

    css = (_FOLDER / "style.css").read_text(encoding="utf-8")
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        # Macros return markup, which is escaped already; everything else is text from outside.
        finalize=lambda value: value if hasattr(value, "__html__") else visible(str(value)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("page.html").render(
        # The one style sheet is allowed by its hash, and no other may apply, style attributes included.
        css=css,
        css_hash=base64.b64encode(hashlib.sha256(css.encode()).digest()).decode(),
        images=draw_plots(manifest, evidence),
        seal=seal,
        **report_context(manifest, evidence),
    )
    with whole_file(path) as partial:
        partial.write_text(page, encoding="utf-8")
