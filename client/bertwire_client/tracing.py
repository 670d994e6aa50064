"""The caller's trace, where it uses OpenTelemetry."""

import sys

from bertwire_client.requests import Metadata


def traced(metadata: Metadata) -> Metadata:
    """Return metadata with the current trace (traceparent, baggage: what OpenTelemetry's propagators give).

    What the caller gives of these goes before. Nothing is added where the process has not loaded OpenTelemetry.
    """
    if "opentelemetry.trace" not in sys.modules:
        return metadata
    from opentelemetry.propagate import inject

    found: dict[str, str] = {}
    inject(found)
    given = {name for name, _ in metadata}
    return (*metadata, *((name.lower(), value) for name, value in found.items() if name.lower() not in given))
