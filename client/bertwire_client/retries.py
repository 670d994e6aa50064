"""Trying again after RESOURCE_EXHAUSTED; UNAVAILABLE is tried again by gRPC itself, as `wire.channel_options` says."""

import random

from bertwire_client.errors import RequestError, ResourceExhaustedError


def seconds_to_retry(error: RequestError, tries: int, attempts: int, left: float) -> float | None:
    """Seconds after which a call is tried again; None where its failure is final.

    Only what the server itself wants tried again is, and only where that comes before the deadline.

    Args:
        error: how the call failed.
        tries: how often it was tried so far.
        attempts: how often it may be tried.
        left: seconds until its deadline.
    """
    if not isinstance(error, ResourceExhaustedError) or error.retry_after is None or tries >= attempts:
        return None
    # Never before the server's time, and not all callers at once.
    pause = error.retry_after * random.uniform(1.0, 1.25)  # noqa: S311 - no secret depends on it
    return pause if pause < left else None


def backoff(failures: int) -> float:
    """Seconds to wait after `failures` failures in a row of what names no time itself: 0.05 at first, 1 at most."""
    return min(0.05 * 2.0 ** min(failures - 1, 10), 1.0) * random.uniform(0.5, 1.0)  # noqa: S311 - as above
