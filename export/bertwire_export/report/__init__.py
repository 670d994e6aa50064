"""The report that export writes beside a bundle: one HTML file that needs nothing else."""

from bertwire_export.report.evidence import Evidence
from bertwire_export.report.page import write_report

__all__ = ["Evidence", "write_report"]
