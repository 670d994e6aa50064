"""Batch scoring: read a file of texts, write it with predictions added."""

from bertwire_batch.config import ScoreConfig
from bertwire_batch.job import score_file
from bertwire_batch.tally import Summary

__all__ = ["ScoreConfig", "Summary", "score_file"]
