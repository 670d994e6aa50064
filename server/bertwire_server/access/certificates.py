"""Certificate of the server and CA of its clients: validated when read, replaced while the server runs."""

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
    """Contents of the TLS files, each PEM.

    Attributes:
        certificate: the server's certificate and its chain.
        key: its private key.
        client_ca: certificates of the CAs of clients; None where clients need no certificate.
        ends: expiry of the server's certificate, in seconds since 1970.
    """

    certificate: bytes
    key: bytes
    client_ca: bytes | None
    ends: float


def read_tls(certificate: Path, key: Path, client_ca: Path | None) -> TlsFiles:
    """Read the files and validate them together.

    Raises:
        UserError: a file cannot be read, is damaged or has expired, or the key is of another certificate.
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
    """Return credentials of a port that follow the files; open connections keep those of their handshake."""
    handed = files.value

    def changed() -> grpc.ServerCertificateConfiguration | None:
        # gRPC calls this before each handshake, in its own threads; None keeps the last configuration.
        nonlocal handed
        if files.value is handed:
            return None
        handed = files.value
        return _configuration(handed)

    return grpc.dynamic_ssl_server_credentials(
        _configuration(handed),
        changed,  # type: ignore[arg-type]  # the stubs lack None
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
        # The message of the error could quote the file.
        raise UserError(f"{path} holds no private key in PEM, or a damaged one") from None
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
