"""Who is at the other end of a connection, and what a client certificate permits."""

from collections.abc import Iterable
from functools import lru_cache
from typing import Protocol

from bertwire_server.access.identity import ADMIN, Identity, Limits


class Peer(Protocol):
    """The other end of a call's connection, as the transport's `Context` tells of it."""

    def peer(self) -> str:
        """Its address with the port."""
        ...

    def peer_identities(self) -> Iterable[bytes] | None:
        """The names in its certificate: those of the SAN, or else the CN; None where it has shown none."""
        ...


class CertificateScopes:
    """What the clients with a certificate may do.

    Args:
        scopes: those of every client.
        admins: names of the clients that have the scope admin beside them.
        limits: what one client may take.
    """

    def __init__(self, scopes: frozenset[str], admins: frozenset[str], limits: Limits) -> None:
        def identity(name: bytes) -> Identity:
            client = name.decode(errors="replace")
            return Identity(client, scopes | {ADMIN} if client in admins else scopes, limits)

        self._identity = lru_cache(maxsize=4096)(identity)

    def identity(self, peer: Peer) -> Identity | None:
        """Who the peer is by the first name of its certificate; None where it has none."""
        name = next(iter(peer.peer_identities() or ()), None)
        return self._identity(name) if name else None
