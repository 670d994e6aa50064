"""A deadline storm: callers with less time than a batch takes, each calling again at once."""

from time import perf_counter

from bench.calls import Caller, Calls, Target
from bench.figures import MISSED, OK, REFUSED, Figures, percentiles
from bench.modes.closed import impatient, steady
from bench.probe import watching
from bench.timeline import Timeline, timeline

WARM_SECONDS = 1.0
# The server may take so long to be itself again.
RECOVERY_SECONDS = 1.0


async def storm(
    target: Target, in_flight: int, deadline: float, before: float, seconds: float, after: float
) -> tuple[Figures, Timeline]:
    """Goodput over capacity, and how fast the server is from one second after the end.

    Args:
        target: what is measured.
        in_flight: callers, before, during and after.
        deadline: theirs in the storm, in seconds.
        before: seconds in which capacity is measured, after a second that warms up.
        seconds: seconds of the storm.
        after: seconds measured once the storm is over by one second.
    """
    requests, calls = target.requests(), Calls()
    async with Caller(target.address) as caller, watching(target.server) as watched:
        first = perf_counter() + WARM_SECONDS
        await steady(caller, requests, in_flight, first + before, calls)
        begin = perf_counter()
        await impatient(caller, requests, in_flight, begin + seconds, calls, deadline)
        end = begin + seconds
        recovered = perf_counter() + RECOVERY_SECONDS
        await steady(caller, requests, in_flight, recovered + after, calls)
    found = calls.all()
    capacity = found.rate(first, first + before)
    during = found.begun_between(begin, end)
    in_time = during.of(OK)
    figures: Figures = {
        "capacity": capacity,
        "goodput": len(in_time) / seconds,
        "goodput_share": len(in_time) / seconds / capacity,
        "recovered_share": found.rate(recovered, recovered + after) / capacity,
        "answered": len(found.of(OK)),
        "storm_answered": len(in_time),
        # gRPC's own clock decides what is in time; this is how many the client's code had by then.
        "storm_answered_by_client_clock": int((in_time.seconds <= deadline).sum()),
        "storm_refused": len(during.of(REFUSED)),
        "storm_missed": len(during.of(MISSED)),
    }
    figures["storm_other"] = len(during) - sum(figures[f"storm_{name}"] for name in ("answered", "refused", "missed"))
    figures |= percentiles(watched.lag(begin, end), "client_lag_")
    return figures, timeline(found, capacity, first, (begin, end))
