"""Scoring by Ray Data: an actor pool with one `Predictor` an actor, without a server."""

from bertwire_batch.ray.scoring import Scoring, score

__all__ = ["Scoring", "score"]
