"""Retries on RESOURCE_EXHAUSTED; gRPC itself retries UNAVAILABLE, see `wire.channel_options`."""

import random

from bertwire_client.errors import RequestError, ResourceExhaustedError


def seconds_to_retry(error: RequestError, tries: int, attempts: int, left: float) -> float | None:
    """Return the delay in seconds before a retry; None where the failure is final.

    Only failures with a retry delay from the server are retried, and only before the deadline.

    Args:
        error: the failure.
        tries: tries so far.
        attempts: most tries.
        left: seconds until the deadline.
    """
    if not isinstance(error, ResourceExhaustedError) or error.retry_after is None or tries >= attempts:
        return None
    # Jitter upwards only: never before the server's delay, and not all callers at once.
    pause = error.retry_after * random.uniform(1.0, 1.25)  # noqa: S311 - no secret depends on it
    return pause if pause < left else None


def backoff(failures: int) -> float:
    """Return the delay in seconds after `failures` consecutive failures without a retry delay: from 0.05 up to 1."""
    return min(0.05 * 2.0 ** min(failures - 1, 10), 1.0) * random.uniform(0.5, 1.0)  # noqa: S311 - as above
