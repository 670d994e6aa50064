"""Certificates for tests: those of trustme as files, and those that trustme does not make."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurve,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from trustme import CA, LeafCert


def pem(leaf: LeafCert) -> bytes:
    """Return a certificate in PEM."""
    return leaf.cert_chain_pems[0].bytes()


def key_pem(leaf: LeafCert) -> bytes:
    """Return the key of a certificate in PEM."""
    return leaf.private_key_pem.bytes()


def write(leaf: LeafCert, folder: Path, name: str) -> tuple[Path, Path]:
    """Write a certificate and its key; return their paths."""
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    certificate.write_bytes(pem(leaf))
    key.write_bytes(key_pem(leaf))
    return certificate, key


def encrypted_key_pem(leaf: LeafCert) -> bytes:
    """Return the key of a certificate in PEM, encrypted with a passphrase."""
    encryption = BestAvailableEncryption(b"secret")
    return load_pem_private_key(key_pem(leaf), None).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def in_days(days: float) -> datetime:
    """Return a time from now, for `CA.issue_cert`."""
    return datetime.now(UTC) + timedelta(days=days)


def unusual(ca: CA, *names: x509.GeneralName, curve: EllipticCurve | None = None) -> LeafCert:
    """Issue a certificate with the CN `cn`, and names of any kind or no SAN, for a key on any curve."""
    issuer = x509.load_pem_x509_certificate(ca.cert_pem.bytes()).subject
    signer = load_pem_private_key(ca.private_key_pem.bytes(), None)
    assert isinstance(signer, EllipticCurvePrivateKey)
    key = generate_private_key(curve or SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "cn")])
    builder = x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(in_days(-1)).not_valid_after(in_days(1))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    certificate = builder.sign(signer, hashes.SHA256()).public_bytes(Encoding.PEM)
    return LeafCert(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), certificate, [])
