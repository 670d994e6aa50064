"""How long what is measured."""

from dataclasses import dataclass

IN_FLIGHT = 64
# Calls with 32 texts each that are in flight together: two batches wait while two are on their way.
LARGE_IN_FLIGHT, LARGE_TEXTS = 4, 32
STORM_DEADLINE_SECONDS = 0.020
OVERLOAD_TIMES = 3.0
FAIR_CALLERS, FAIR_TEXTS = 4, 1000
GONE_CALLERS = 512


@dataclass(frozen=True)
class Plan:
    """Rounds, texts and seconds of one run.

    Attributes:
        rounds: how often raw and served take turns.
        texts: texts of a turn.
        single_texts: texts of a turn with one at a time.
        capacity: seconds in which capacity is measured, before each load.
        recovery: seconds measured after each load.
        storm: seconds of the deadline storm.
        overload: seconds of the overload.
        fair: seconds of each window with or without a large call.
        fair_rounds: windows of each kind.
    """

    rounds: int = 3
    texts: int = 2048
    single_texts: int = 512
    capacity: float = 10.0
    recovery: float = 5.0
    storm: float = 20.0
    overload: float = 60.0
    fair: float = 5.0
    fair_rounds: int = 3


QUICK = Plan(rounds=1, texts=640, single_texts=128, capacity=3, recovery=3, storm=3, overload=3, fair=3, fair_rounds=1)
