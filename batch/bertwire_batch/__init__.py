"""Batch scoring: read a file of texts, write it with predictions added, or the vectors of its texts."""

from bertwire_batch.config import EmbedConfig, ScoreConfig
from bertwire_batch.embed import embed_file
from bertwire_batch.score import score_file
from bertwire_batch.tally import Summary

__all__ = ["EmbedConfig", "ScoreConfig", "Summary", "embed_file", "score_file"]
