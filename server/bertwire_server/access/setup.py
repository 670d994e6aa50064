"""Authentication and authorization of a server, built from its settings."""

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
# Seconds between two polls. Halved, the files are looked up twice as often; doubled, a revoked key works for longer.
_POLL_SECONDS = 1.0
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Access:
    """Authentication and authorization of a server.

    Attributes:
        gate: admits each call; None where all are admitted.
        credentials: of the server's port; None without TLS.
        files: files that are read again when they change.
        tls: of these the TLS files; None without TLS.
    """

    gate: Gate | None
    credentials: grpc.ServerCredentials | None
    files: tuple[Watched[Any], ...]
    tls: Watched[TlsFiles] | None

    def poll(self) -> None:
        """Read the files again that have changed."""
        for each in self.files:
            each.poll()

    async def watch(self, every_seconds: float = _POLL_SECONDS) -> None:
        """Poll the files again and again, until cancelled; return at once where there are none."""
        while self.files:
            await asyncio.sleep(every_seconds)
            # In a thread: reading many keys takes milliseconds.
            await asyncio.to_thread(self.poll)


def open_access(config: AccessConfig) -> Access:
    """Read every file that the settings name.

    Raises:
        UserError: files cannot be read or are invalid; the message names the faults of all.
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
    """Log a warning where a server off the loopback interface has no authentication or no TLS."""
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
