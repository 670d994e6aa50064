"""Batch scoring: a file of texts in, the same file with predictions out."""

from bertwire_client.score.config import ScoreConfig
from bertwire_client.score.job import score_file
from bertwire_client.score.tally import Summary

__all__ = ["ScoreConfig", "Summary", "score_file"]
