"""Write the report of a bundle: one HTML file that loads nothing else."""

from pathlib import Path

from bertwire_core.files import whole_file
from bertwire_data.pages.render import render
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

    page = render(_FOLDER, images=draw_plots(manifest, evidence), seal=seal, **report_context(manifest, evidence))
    with whole_file(path) as partial:
        partial.write_text(page, encoding="utf-8")
