"""Answers, refusals and missed deadlines over time, for the plot."""

from typing import TypedDict

import numpy as np

from bench.figures import MISSED, OK, REFUSED, Ended

BIN_SECONDS = 0.5


class Timeline(TypedDict):
    """Calls a second in bins of half a second.

    Attributes:
        phases: seconds at which the load began and ended.
        capacity: answers a second without the load.
        answered: one figure a bin; so are refused and missed.
    """

    phases: tuple[float, float]
    capacity: float
    answered: list[float]
    refused: list[float]
    missed: list[float]


def timeline(calls: Ended, capacity: float, first: float, load: tuple[float, float]) -> Timeline:
    """Count the calls' ends from `first` on, in whole bins; all times are of the client's clock."""
    edges = np.arange(first, calls.ended.max(), BIN_SECONDS)
    answered, refused, missed = (
        (np.histogram(calls.of(code).ended, edges)[0] / BIN_SECONDS).tolist() for code in (OK, REFUSED, MISSED)
    )
    begin, end = (round(moment - first, 3) for moment in load)
    return Timeline(phases=(begin, end), capacity=capacity, answered=answered, refused=refused, missed=missed)
