"""The report of a training: what was trained, how good it is, and what to look at."""

from bertwire_trainer.report.write import write_report

__all__ = ["write_report"]
