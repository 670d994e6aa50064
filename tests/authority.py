"""Certificates for tests, made on the spot."""

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurve,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat


@dataclass(frozen=True)
class Issued:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: EllipticCurvePrivateKey

    @property
    def pem(self) -> bytes:
        """The certificate in PEM."""
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """The key in PEM."""
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def encrypted(self, passphrase: str) -> bytes:
        """The key in PEM behind a passphrase."""
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(passphrase.encode()))

    @classmethod
    def authority(cls, name: str) -> Self:
        """An authority that signed itself."""
        return cls._signed(name, (), None, timedelta(days=1))

    def issue(
        self, name: str, *sans: str, life: timedelta = timedelta(days=1), curve: EllipticCurve | None = None
    ) -> "Issued":
        """A certificate that this authority signed; `life` is how long from now it is valid."""
        return self._signed(name, sans, self, life, curve)

    def write(self, folder: Path, name: str) -> tuple[Path, Path]:
        """Writes certificate and key, and gives their paths."""
        certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
        certificate.write_bytes(self.pem)
        key.write_bytes(self.key_pem)
        return certificate, key

    @classmethod
    def _signed(
        cls,
        name: str,
        sans: tuple[str, ...],
        issuer: "Issued | None",
        life: timedelta,
        curve: EllipticCurve | None = None,
    ) -> Self:
        key = generate_private_key(curve or SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        end = datetime.now(UTC) + life
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer.certificate.subject if issuer else subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(end - timedelta(days=30))
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        )
        if sans:
            builder = builder.add_extension(x509.SubjectAlternativeName([_general(each) for each in sans]), False)
        return cls(builder.sign(issuer.key if issuer else key, hashes.SHA256()), key)


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.UniformResourceIdentifier(name) if "://" in name else x509.DNSName(name)
