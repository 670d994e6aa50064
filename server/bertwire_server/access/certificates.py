"""The server's certificate, and the authority that signs its clients': read, checked, renewed while it runs."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, SECP384R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from bertwire_core.errors import UserError
from bertwire_server.access.watched import Watched, read_bytes


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """What was read, each PEM.

    Attributes:
        certificate: the server's certificate and those up to its authority.
        key: its private key.
        client_ca: certificates of the authorities that sign clients'; None where clients need none.
        ends: when the server's certificate does, in seconds since 1970.
    """

    certificate: bytes
    key: bytes
    client_ca: bytes | None
    ends: float


def read_tls(certificate: Path, key: Path, client_ca: Path | None) -> TlsFiles:
    """Reads the files and checks that they fit together.

    Raises:
        UserError: one cannot be read, is damaged, has expired, or is of another certificate.
    """
    content, key_content = read_bytes(certificate), read_bytes(key)
    own = _certificates(certificate, content)[0]
    if own.not_valid_after_utc <= datetime.now(UTC):
        raise UserError(f"{certificate} expired at {own.not_valid_after_utc:%Y-%m-%d %H:%M} UTC; renew it")
    if not _is_usable(own):
        raise UserError(
            f"{certificate} is of a kind that gRPC does not serve; take an RSA key, or one on P-256 or P-384"
        )
    if _public(own) != _public_of_private(key, key_content):
        raise UserError(f"{key} is not the key of {certificate}; give the pair that was made together")
    ends = own.not_valid_after_utc.timestamp()
    if client_ca is None:
        return TlsFiles(content, key_content, None, ends)
    ca_content = read_bytes(client_ca)
    _certificates(client_ca, ca_content)
    return TlsFiles(content, key_content, ca_content, ends)


def server_credentials(files: Watched[TlsFiles]) -> grpc.ServerCredentials:
    """Credentials for one port, which follow what `files` holds; a connection that stands keeps what it began with."""
    handed = files.value

    def changed() -> grpc.ServerCertificateConfiguration | None:
        # gRPC asks before each handshake, from threads of its own, and keeps what it has where it gets None.
        nonlocal handed
        if files.value is handed:
            return None
        handed = files.value
        return _configuration(handed)

    return grpc.dynamic_ssl_server_credentials(
        _configuration(handed),
        changed,  # type: ignore[arg-type]  # the stubs do not know that it may return None
        require_client_authentication=handed.client_ca is not None,
    )


def _configuration(files: TlsFiles) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(files.key, files.certificate)], files.client_ca)


def _certificates(path: Path, content: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(content)
    except ValueError:
        raise UserError(f"{path} holds no certificate in PEM, or a damaged one") from None


def _is_usable(certificate: x509.Certificate) -> bool:
    key = certificate.public_key()
    if isinstance(key, EllipticCurvePublicKey):
        return isinstance(key.curve, SECP256R1 | SECP384R1)
    return isinstance(key, RSAPublicKey)


def _public(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _public_of_private(path: Path, content: bytes) -> bytes:
    try:
        key = load_pem_private_key(content, password=None)
    except TypeError:
        raise UserError(f"{path} is encrypted; give a key without a passphrase that only the server can read") from None
    except (ValueError, UnsupportedAlgorithm):
        # Their text could quote the file.
        raise UserError(f"{path} holds no private key in PEM, or a damaged one") from None
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
