"""The caller's trace, where it uses OpenTelemetry."""

import logging
import sys
from collections.abc import Callable
from functools import cache

from bertwire_client.requests import Metadata


def traced(metadata: Metadata) -> Metadata:
    """Return metadata with the current trace (traceparent, baggage: what OpenTelemetry's propagators give).

    What the caller gives of these goes before. Nothing is added where the process has not loaded OpenTelemetry, or its
    propagators cannot be loaded.
    """
    if "opentelemetry.trace" not in sys.modules:
        return metadata
    if (inject := _injection()) is None:
        return metadata
    found: dict[str, str] = {}
    inject(found)
    given = {name for name, _ in metadata}
    return (*metadata, *((name.lower(), value) for name, value in found.items() if name.lower() not in given))


@cache
def _injection() -> Callable[[dict[str, str]], None] | None:
    """Return what writes the current trace; None where OTEL_PROPAGATORS names what is not there."""
    try:
        from opentelemetry.propagate import inject
    except Exception as error:
        logging.getLogger(__name__).warning("calls go without the caller's trace: %s", error)
        return None
    return inject
