"""Authentication and authorization of each call, before its message is read."""

from collections.abc import Callable, Mapping

from bertwire_server.access.identity import Identity, Limits, required_scope
from bertwire_server.access.keys import PREFIX, Keys
from bertwire_server.access.limits import Account, Accounts
from bertwire_server.access.peers import CertificateScopes, Peer
from bertwire_server.access.tokens import Tokens
from bertwire_server.access.watched import Watched
from bertwire_server.errors import Forbidden, Unauthenticated

_SCHEME = "bearer "


class Permit:
    """Admission of a call, a context manager: the call ends with the block."""

    __slots__ = ("_account",)

    def __init__(self, account: Account | None) -> None:
        self._account = account

    def spend(self) -> None:
        """Count a further request of a stream; raise `Overloaded` where the client's rate is exceeded."""
        if self._account is not None:
            self._account.spend()

    def __enter__(self) -> "Permit":
        return self

    def __exit__(self, *exception: object) -> None:
        if self._account is not None:
            self._account.leave()


OPEN = Permit(None)


class Gate:
    """Authenticates callers by their credentials, and applies their scopes and limits.

    A key or token in the metadata decides alone, also over a connection with a certificate: a call with a wrong one is
    refused whatever other credential it has.

    Args:
        keys: API keys; None where they are not used.
        tokens: verifier of tokens; None where they are not used.
        certificates: scopes of clients with a certificate; None where certificates are not asked for.
        anonymous: limits of an address, where no credential is asked for.
    """

    def __init__(
        self,
        keys: Watched[Keys] | None,
        tokens: Watched[Tokens] | None,
        certificates: CertificateScopes | None,
        anonymous: Limits,
    ) -> None:
        self._keys, self._tokens, self._certificates, self._anonymous = keys, tokens, certificates, anonymous
        self._identifies = bool(keys or tokens or certificates)
        self._accounts = Accounts()

    def admit(
        self,
        method: str,
        metadata: Mapping[str, str | bytes],
        peer: Peer,
        known: Callable[[str], object],
    ) -> Permit:
        """Admit a call.

        Args:
            method: its full gRPC name.
            metadata: of the call.
            peer: its connection.
            known: called with the name of an authenticated client, also where the call is then refused.

        Raises:
            Unauthenticated: the call has no credential, or an invalid one.
            Forbidden: the client lacks the method's scope.
            Overloaded: the client exceeds its rate, or has too many calls in flight.
        """
        scope = required_scope(method)
        if scope is None:
            return OPEN
        if not self._identifies:
            return self._enter(peer.peer().rpartition(":")[0], self._anonymous)
        identity = self._identify(metadata, peer)
        known(identity.client)
        if scope not in identity.scopes:
            raise Forbidden(f"client {identity.client!r} lacks the scope {scope!r}, which {method} needs")
        return self._enter(identity.client, identity.limits)

    def _enter(self, account: str, limits: Limits) -> Permit:
        if not limits.rate and not limits.concurrency:
            return OPEN
        entered = self._accounts.of(account, limits)
        entered.enter()
        return Permit(entered)

    def _identify(self, metadata: Mapping[str, str | bytes], peer: Peer) -> Identity:
        if self._keys or self._tokens:
            if (header := metadata.get("authorization")) is not None:
                return self._bearer(header)
            if self._keys and (key := metadata.get("x-api-key")) is not None:
                return _by_key(self._keys.value, key)
        if self._certificates and (identity := self._certificates.identity(peer)) is not None:
            return identity
        raise Unauthenticated(self._asked())

    def _bearer(self, header: str | bytes) -> Identity:
        if not isinstance(header, str) or header[: len(_SCHEME)].lower() != _SCHEME:
            raise Unauthenticated("the authorization metadata is not of the form 'Bearer CREDENTIAL'")
        credential = header[len(_SCHEME) :].strip()
        if self._keys and (self._tokens is None or credential.startswith(PREFIX)):
            return _by_key(self._keys.value, credential)
        if self._tokens:
            return self._tokens.value.identity(credential)
        raise Unauthenticated(self._asked())

    def _asked(self) -> str:
        if not (self._keys or self._tokens):
            return "no credential; connect with a client certificate"
        kinds = " or ".join(name for name, used in (("API key", self._keys), ("JWT", self._tokens)) if used)
        return f"no credential; send the metadata authorization: Bearer CREDENTIAL, with your {kinds}"


def _by_key(keys: Keys, key: str | bytes) -> Identity:
    identity = keys.identity(key) if isinstance(key, str) else None
    if identity is None:
        raise Unauthenticated("the API key is unknown or has expired")
    return identity
