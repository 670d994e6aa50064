"""Makes of the settings what the server asks at each connection and at each call."""

import asyncio
import ipaddress
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc

from bertwire_core.errors import UserError
from bertwire_server.access.certificates import TlsFiles, read_tls, server_credentials
from bertwire_server.access.config import AccessConfig
from bertwire_server.access.gate import Gate
from bertwire_server.access.identity import Limits
from bertwire_server.access.keys import read_keys
from bertwire_server.access.peers import CertificateScopes
from bertwire_server.access.tokens import TokenRules, read_tokens
from bertwire_server.access.watched import Watched
from bertwire_server.listen import is_unix

_log = logging.getLogger(__name__)
_POLL_SECONDS = 1.0
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Access:
    """How a server is entered.

    Attributes:
        gate: decides about each call; None where all are let in.
        credentials: for the server's one port; None where it talks in the clear.
        files: what was read from files, and is read again when they change.
        tls: of these the server's certificate; None without TLS.
    """

    gate: Gate | None
    credentials: grpc.ServerCredentials | None
    files: tuple[Watched[Any], ...]
    tls: Watched[TlsFiles] | None

    def certificate_ends(self) -> float | None:
        """When the certificate that the server shows now ends, in seconds since 1970; None without TLS."""
        return None if self.tls is None else self.tls.value.ends

    def poll(self) -> None:
        """Reads again the files that have changed."""
        for each in self.files:
            each.poll()

    async def watch(self) -> None:
        """Polls every second, without end where there are files."""
        while self.files:
            await asyncio.sleep(_POLL_SECONDS)
            # Reading many keys takes milliseconds, in which calls go on.
            await asyncio.to_thread(self.poll)


def open_access(config: AccessConfig) -> Access:
    """Reads every file that the settings name.

    Raises:
        UserError: files are not as they must be; names the faults of all.
    """
    faults: list[str] = []
    tls = keys = tokens = None
    limits = config.limits
    if config.tls_certificate and config.tls_key:
        certificate, key, client_ca = config.tls_certificate, config.tls_key, config.tls_client_ca
        paths = [certificate, key] + ([client_ca] if client_ca else [])
        tls = _opened(lambda: Watched(paths, lambda: read_tls(certificate, key, client_ca)), faults)
    if keys_path := config.api_keys:
        keys = _opened(lambda: Watched([keys_path], lambda: read_keys(keys_path, limits)), faults)
    if (jwks_path := config.jwt_jwks) and config.jwt_issuer and config.jwt_audience:
        rules = TokenRules(config.jwt_issuer, config.jwt_audience, config.jwt_leeway_seconds, limits)
        tokens = _opened(lambda: Watched([jwks_path], lambda: read_tokens(jwks_path, rules)), faults)
    if faults:
        raise UserError("; ".join(faults))
    gate = None
    if keys or tokens or config.tls_client_ca or limits != Limits():
        gate = Gate(keys, tokens, _certificate_scopes(config), limits)
    files = tuple(each for each in (tls, keys, tokens) if each is not None)
    return Access(gate, server_credentials(tls) if tls else None, files, tls)


def warn_if_open(host: str, config: AccessConfig) -> None:
    """Logs one warning where a server that others can reach takes anyone, or credentials in the clear."""
    if _is_loopback(host):
        return
    faults = []
    if not (config.api_keys or config.jwt_jwks or config.tls_client_ca):
        faults.append("anyone who reaches it may classify and load models (--api-keys, --jwt-jwks or --tls-client-ca)")
    if not config.tls_certificate:
        faults.append("all travels in the clear (--tls-certificate)")
    if faults:
        _log.warning("the server listens at %s, and %s", host, "; ".join(faults))


def _certificate_scopes(config: AccessConfig) -> CertificateScopes | None:
    if config.tls_client_ca is None:
        return None
    return CertificateScopes(frozenset(config.tls_client_scopes), frozenset(config.tls_admins), config.limits)


def _opened(make: Callable[[], T], faults: list[str]) -> T | None:
    try:
        return make()
    except UserError as error:
        faults.append(str(error))
        return None


def _is_loopback(host: str) -> bool:
    if is_unix(host):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
