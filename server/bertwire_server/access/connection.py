"""Limits of one connection, as gRPC channel arguments."""

from bertwire_server.access.config import AccessConfig

_FOREVER = 2**31 - 1
# Milliseconds for a handshake. Halved, clients on slow networks cannot connect; doubled, a peer that sends nothing
# holds a connection for longer.
_HANDSHAKE_MS = 10_000
# Milliseconds between pings and for their answers, which detect hosts that vanished. Halved, idle connections cost
# twice the packets; doubled, the calls of a vanished host are kept for longer.
_KEEPALIVE_MS, _KEEPALIVE_TIMEOUT_MS = 60_000, 20_000
# Early pings that are forgiven: the network may delay one and so bring the next too early.
_PING_STRIKES = 2


def connection_options(config: AccessConfig) -> list[tuple[str, int]]:
    """Return channel arguments of the server that apply the configured limits to each connection."""
    age = _ms(config.max_connection_age_seconds) or _FOREVER
    metadata = config.max_metadata_kb << 10
    return [
        ("grpc.max_allowed_incoming_connections", config.max_connections),
        ("grpc.max_concurrent_streams", config.max_connection_calls),
        # It also counts calls that were answered a moment ago, and so fails calls of a client at the limit.
        ("grpc.http.overload_protection", 0),
        # It would raise the flow control window of each connection to megabytes for a fast sender. Without it a stream
        # has a window of 64 KiB, and a larger message one of what is missing of it.
        ("grpc.http2.bdp_probe", 0),
        ("grpc.max_connection_idle_ms", _ms(config.max_connection_idle_seconds)),
        ("grpc.max_connection_age_ms", age),
        ("grpc.max_connection_age_grace_ms", _ms(config.max_connection_grace_seconds)),
        ("grpc.server_handshake_timeout_ms", _HANDSHAKE_MS),
        # Equal: between the two sizes gRPC refuses calls at random.
        ("grpc.max_metadata_size", metadata),
        ("grpc.absolute_max_metadata_size", metadata),
        ("grpc.http2.min_ping_interval_without_data_ms", _ms(config.min_ping_seconds)),
        ("grpc.http2.max_ping_strikes", _PING_STRIKES),
        # Clients without calls may ping, to keep a path through a firewall open.
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
        ("grpc.keepalive_timeout_ms", _KEEPALIVE_TIMEOUT_MS),
    ]


def _ms(seconds: float) -> int:
    return round(seconds * 1e3)
