"""What one connection may ask of the server, in gRPC's own settings."""

from bertwire_server.access.config import AccessConfig

_FOREVER = 2**31 - 1
# A peer that has not finished its handshake by then holds a connection for nothing.
_HANDSHAKE_MS = 10_000
# A host that vanished is found out by pings, after a minute and the time for an answer.
_KEEPALIVE_MS, _KEEPALIVE_TIMEOUT_MS = 60_000, 20_000
# One ping too early may be the network's doing, three are not.
_PING_STRIKES = 2


def connection_options(config: AccessConfig) -> list[tuple[str, int]]:
    """Options of the gRPC server that hold each connection to the configured limits."""
    age = _ms(config.max_connection_age_seconds) or _FOREVER
    metadata = config.max_metadata_kb << 10
    return [
        ("grpc.max_allowed_incoming_connections", config.max_connections),
        ("grpc.max_concurrent_streams", config.max_connection_calls),
        # It counts calls that have been answered a moment ago too, and so fails calls of a client at the limit.
        ("grpc.http.overload_protection", 0),
        # It would let a fast sender have megabytes on their way into the server, on each connection. Without it a
        # stream has 64 KiB on its way, and a message larger than that has room for as much of it as is missing.
        ("grpc.http2.bdp_probe", 0),
        ("grpc.max_connection_idle_ms", _ms(config.max_connection_idle_seconds)),
        ("grpc.max_connection_age_ms", age),
        ("grpc.max_connection_age_grace_ms", _ms(config.max_connection_grace_seconds)),
        ("grpc.server_handshake_timeout_ms", _HANDSHAKE_MS),
        # Between the two sizes gRPC would refuse some calls at random.
        ("grpc.max_metadata_size", metadata),
        ("grpc.absolute_max_metadata_size", metadata),
        ("grpc.http2.min_ping_interval_without_data_ms", _ms(config.min_ping_seconds)),
        ("grpc.http2.max_ping_strikes", _PING_STRIKES),
        # Of clients between two calls, which keep a path through a firewall open, and our own.
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
        ("grpc.keepalive_timeout_ms", _KEEPALIVE_TIMEOUT_MS),
    ]


def _ms(seconds: float) -> int:
    return round(seconds * 1e3)
