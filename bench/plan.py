"""Sizes and durations of the benchmark."""

from dataclasses import dataclass

IN_FLIGHT = 64
# Calls of 32 texts each in flight together: at half of them no batch would wait while another runs.
LARGE_IN_FLIGHT, LARGE_TEXTS = 4, 32
# Calls a second over capacity: at half of it hardly any call is refused.
OVERLOAD_TIMES = 3.0
# Seconds, the same for every server that is compared; at half of it a full batch and its wait no longer fit.
OVERLOAD_DEADLINE_SECONDS = 0.250
# Single calls at once, and texts of the call beside them: at half of the texts a server that runs a call to its end
# before others delays them half as long, and shows less.
FAIR_CALLERS, FAIR_TEXTS = 4, 1000


@dataclass(frozen=True)
class Plan:
    """Rounds, texts and seconds of one run.

    Attributes:
        rounds: turns of each side in every mode but overload.
        texts: texts of one throughput measurement.
        single_texts: texts sent one at a time.
        fair: seconds of the window without a large call, and of the one with it.
        overloads: turns of each side in overload.
        capacity: seconds in which capacity is measured before an overload.
        overload: seconds of an overload.
        recovery: seconds measured after an overload.
    """

    rounds: int = 3
    texts: int = 2048
    single_texts: int = 512
    fair: float = 10.0
    overloads: int = 2
    capacity: float = 10.0
    overload: float = 30.0
    recovery: float = 5.0


QUICK = Plan(rounds=1, texts=640, single_texts=128, fair=3, overloads=1, capacity=3, overload=3, recovery=3)
