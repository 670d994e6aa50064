"""When calls are due."""

import random
from collections.abc import Iterator
from typing import Literal

Arrivals = Literal["poisson", "constant"]


def due_times(
    arrivals: Arrivals, rate: float, begin: float, seconds: float, share: tuple[int, int], generator: random.Random
) -> Iterator[float]:
    """Yield the moments at which one client process has to send a call, ascending.

    Args:
        arrivals: `poisson`: gaps are exponential, as of many independent callers; `constant`: all gaps are equal.
        rate: calls a second of all processes together.
        begin: the moment from which calls are due.
        seconds: for how long.
        share: the number of this process, from 0 on, and the number of processes. The processes' moments together are
            those of `rate`.
        generator: of this process alone.
    """
    place, processes = share
    if arrivals == "constant":
        number = place
        while (due := number / rate) < seconds:
            yield begin + due
            number += processes
        return
    due = generator.expovariate(rate / processes)
    while due < seconds:
        yield begin + due
        due += generator.expovariate(rate / processes)
