"""Peer of a connection, and its identity by its client certificate."""

from collections.abc import Iterable
from functools import lru_cache
from typing import Protocol

from bertwire_server.access.identity import ADMIN, Identity, Limits


class Peer(Protocol):
    """Peer of a call's connection, as gRPC's context has it."""

    def peer(self) -> str:
        """Return its address with the port."""
        ...

    def peer_identities(self) -> Iterable[bytes] | None:
        """Return the names in its certificate, of the SAN or else the CN; None without a certificate."""
        ...


class CertificateScopes:
    """Scopes of clients with a certificate.

    Args:
        scopes: of every client.
        admins: names of the clients that have the scope admin too.
        limits: of one client.
    """

    def __init__(self, scopes: frozenset[str], admins: frozenset[str], limits: Limits) -> None:
        def identity(name: bytes) -> Identity:
            client = name.decode(errors="replace")
            return Identity(client, scopes | {ADMIN} if client in admins else scopes, limits)

        self._identity = lru_cache(maxsize=4096)(identity)

    def identity(self, peer: Peer) -> Identity | None:
        """Return the identity of a peer by the first name of its certificate; None without a certificate."""
        name = next(iter(peer.peer_identities() or ()), None)
        return self._identity(name) if name else None
