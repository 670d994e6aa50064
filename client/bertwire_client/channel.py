"""Client credentials and server authentication."""

import ipaddress
import os
import re
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc

from bertwire_core.errors import UserError, first_line

API_KEY_VARIABLE = "BERTWIRE_API_KEY"
# HOST:PORT, or one of gRPC's name schemes (https://github.com/grpc/grpc/blob/master/doc/naming.md).
_HOST_PORT = re.compile(r"(?:\[[0-9A-Fa-f:.]+(?:%[\w.-]+)?\]|[^\[\]:/\s]+):([0-9]{1,5})")
_MAX_PORT = 65535
_FORMS = ("dns:", "google-c2p:", "ipv4:", "ipv6:", "unix:", "unix-abstract:", "vsock:", "xds:")
# Those that name several servers, between which calls are balanced.
_SEVERAL = ("dns:", "ipv4:", "ipv6:")
# A constant credential, or a function that returns the current one, for tokens that are renewed.
Credential = str | Callable[[], str]


def check_address(address: str) -> None:
    """Raise `UserError` for an invalid address, which gRPC would resolve as a host name with port 443."""
    found = _HOST_PORT.fullmatch(address)
    if not (found and int(found[1]) <= _MAX_PORT) and not address.lower().startswith(_FORMS):
        raise UserError(
            f"{address!r} is no address; give HOST:PORT, as 127.0.0.1:8500 or [::1]:8500, or unix:PATH; "
            "several servers are dns:///HOST:PORT or ipv4:IP:PORT,IP:PORT"
        )
    scheme, _, listed = address.partition(":")
    if scheme.lower() in ("ipv4", "ipv6") and not all(map(_is_numeric, listed.split(","))):
        raise UserError(f"{address!r} is no list of numeric addresses; give {scheme}:IP:PORT,IP:PORT")


def _is_numeric(target: str) -> bool:
    found = _HOST_PORT.fullmatch(target)
    host = target.rpartition(":")[0].strip("[]").partition("%")[0]
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return found is not None and int(found[1]) <= _MAX_PORT


def is_balanced(address: str) -> bool:
    """Whether calls are to be balanced between all that the address names or resolves to."""
    return address.lower().startswith(_SEVERAL)


def check_credentials(credentials: object) -> None:
    """Raise `TypeError` for a value that gRPC would accept and fail on later, such as a file's path."""
    if credentials is not None and not isinstance(credentials, grpc.ChannelCredentials):
        kind = type(credentials).__name__
        raise TypeError(f"credentials are what tls_credentials(ca, certificate, key) makes of files, not {kind}")


def tls_credentials(
    ca: Path | str | None = None, certificate: Path | str | None = None, key: Path | str | None = None
) -> grpc.ChannelCredentials:
    """Return credentials for a TLS server.

    Args:
        ca: PEM file of the accepted certificate authorities; None: gRPC's built-in ones.
        certificate: PEM file of the client certificate, for a server that requires one.
        key: PEM file of its private key.

    Raises:
        UserError: a file cannot be read or has the wrong content, or one of `certificate` and `key` is missing.
    """
    if (certificate is None) != (key is None):
        raise UserError("a client certificate and its key go together; give both or none")
    ca, certificate, key = (None if each is None else Path(each) for each in (ca, certificate, key))
    _check(ca, certificate, key)
    contents = [None if each is None else _read(each) for each in (ca, key, certificate)]
    return grpc.ssl_channel_credentials(*contents)


def read_api_key(path: Path | None) -> str | None:
    """Read an API key or token from a file, or without a file from BERTWIRE_API_KEY; None where neither is set.

    Raises:
        UserError: the file cannot be read, or the content is no credential.
    """
    content = os.environ.get(API_KEY_VARIABLE, "").encode() if path is None else _read(path)
    where = API_KEY_VARIABLE if path is None else path
    credential = content.decode("ascii", errors="replace").strip()
    if not credential and path is None:
        return None
    if not _is_credential(credential):
        raise UserError(f"{where} holds no API key: one word of ASCII, such as bertwire keys new prints")
    return credential


def with_credential(channel: Any, api_key: str | None, token: Credential | None) -> Any:  # noqa: ANN401 - sync or aio
    """Wrap a channel so that all calls carry the credential, over TLS or plaintext; without one return it as it is.

    Raises:
        ValueError: both are given, or one is not a word of ASCII.
    """
    if api_key is not None and token is not None:
        raise ValueError("give api_key or token, not both")
    credential = token if api_key is None else api_key
    if isinstance(credential, str):
        credential = _sendable(credential)
    return channel if credential is None else _CredentialChannel(channel, credential)


class _CredentialChannel:
    """The part of a channel's interface that stubs use.

    gRPC's call credentials require TLS, and its interceptors cost more than the rest of a call's handling.
    """

    def __init__(self, channel: Any, credential: Credential) -> None:  # noqa: ANN401 - sync or aio
        self.unary_unary = _carrying(channel.unary_unary, credential)
        self.unary_stream = _carrying(channel.unary_stream, credential)
        self.stream_unary = _carrying(channel.stream_unary, credential)
        self.stream_stream = _carrying(channel.stream_stream, credential)


def _sendable(credential: str) -> str:
    credential = credential.strip()  # strip the line break at a file's end
    if not _is_credential(credential):
        # gRPC would refuse the call and quote the credential in its error.
        raise ValueError("an API key or a token is one word of ASCII characters")
    return credential


class _Carrying:
    """A method whose calls carry a credential; `future` as of gRPC's methods for threads."""

    def __init__(self, method: Any, credential: Credential) -> None:  # noqa: ANN401 - gRPC's
        self._method, self._credential = method, credential

    def __call__(self, *arguments: Any, metadata: Any = None, **options: Any) -> Any:  # noqa: ANN401 - gRPC's
        return self._method(*arguments, metadata=self._carried(metadata), **options)

    def future(self, *arguments: Any, metadata: Any = None, **options: Any) -> Any:  # noqa: ANN401 - gRPC's
        return self._method.future(*arguments, metadata=self._carried(metadata), **options)

    def _carried(self, metadata: Any) -> tuple[tuple[str, str], ...]:  # noqa: ANN401 - gRPC's
        credential = self._credential
        current = credential if isinstance(credential, str) else _sendable(credential())
        return (("authorization", f"Bearer {current}"), *(metadata or ()))


def _carrying(make: Callable[..., Any], credential: Credential) -> Callable[..., Any]:
    return lambda *arguments, **options: _Carrying(make(*arguments, **options), credential)


def _check(ca: Path | None, certificate: Path | None, key: Path | None) -> None:
    """Check the files before gRPC, which reports faults only per call and replaces an empty CA file by its own CAs."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if ca is not None:
            context.load_verify_locations(cadata=_read(ca).decode("ascii", errors="ignore"))
    except (ValueError, ssl.SSLError):
        raise UserError(f"{ca} holds no certificate in PEM, or a damaged one") from None
    if certificate is None or key is None:
        return
    # ssl does not say which of the two files it could not read.
    _read(certificate)
    _read(key)
    try:
        # The empty password keeps an encrypted key, which gRPC cannot use, from prompting on the terminal.
        context.load_cert_chain(certificate, key, password="")
    except ssl.SSLError:
        raise UserError(f"{certificate} and {key} are no certificate in PEM and its key without passphrase") from None


def _is_credential(text: str) -> bool:
    return text.isascii() and text.isprintable() and len(text.split()) == 1


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or first_line(error)}") from error
