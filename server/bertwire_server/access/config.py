"""Settings of authentication, authorization and limits."""

from pathlib import Path
from typing import Self

from pydantic import Field, field_validator, model_validator

from bertwire_core.options import Config
from bertwire_server.access.identity import Limits, parse_scopes


class AccessConfig(Config):
    """Settings of access and limits; each becomes an option of the command."""

    tls_certificate: Path | None = Field(
        None, description="Server's certificate and its chain, PEM; turns TLS on. Read again when it changes."
    )
    tls_key: Path | None = Field(None, description="Private key of --tls-certificate, PEM, without a passphrase.")
    tls_client_ca: Path | None = Field(
        None, description="CA certificates, PEM; clients must then show a certificate that one of them signed."
    )
    tls_client_scopes: list[str] = Field(
        ["infer"], description="What clients with a certificate may do: infer or admin; give it twice for both."
    )
    tls_admins: list[str] = Field(
        [], description="Name of a client certificate that has the scope admin too; once for each."
    )
    api_keys: Path | None = Field(
        None, description="TOML file of API keys, from bertwire keys new. Read again when it changes."
    )
    jwt_jwks: Path | None = Field(
        None, description="JWKS file of the keys that sign tokens (JWT). Read again when it changes."
    )
    jwt_issuer: str | None = Field(None, min_length=1, description="What a token's iss must be.")
    jwt_audience: str | None = Field(None, min_length=1, description="What a token's aud must be, or hold.")
    jwt_leeway_seconds: float = Field(
        30.0, ge=0, le=600, description="By how much the issuer's clock may differ from this one, in seconds."
    )
    rate_limit: float = Field(
        0.0, ge=0, description="Calls per second of one client, or of one address without credentials; 0: any number."
    )
    rate_burst: int = Field(0, ge=0, description="Calls at once of a client at rest; 0: those of one second.")
    max_concurrency: int = Field(
        0, ge=0, description="Calls in flight of one client, or of one address without credentials; 0: any number."
    )
    max_connections: int = Field(
        1000, ge=1, le=1_000_000, description="Most connections to --host; further ones are closed."
    )
    max_connection_calls: int = Field(
        1024,
        ge=1,
        le=1_000_000,
        description="Most calls and streams at once of one connection; more wait in the client.",
    )
    max_connection_idle_seconds: float = Field(
        900.0, gt=0, le=1_000_000, description="A connection without calls is closed after this many seconds."
    )
    max_connection_age_seconds: float = Field(
        3600.0, ge=0, le=1_000_000, description="A connection gets no new calls after about this time; 0: no limit."
    )
    max_connection_grace_seconds: float = Field(
        600.0, gt=0, le=1_000_000, description="How long the calls of a connection past its age may still take."
    )
    min_ping_seconds: float = Field(
        10.0, ge=0, le=86_400, description="A client that pings more often than this is disconnected."
    )
    max_metadata_kb: int = Field(16, ge=4, le=1024, description="Largest metadata of a call, in KiB.")

    @property
    def limits(self) -> Limits:
        """Return the limits of a client without limits of its own."""
        burst = float(self.rate_burst or max(1.0, self.rate_limit)) if self.rate_limit else 0.0
        return Limits(self.rate_limit, burst, self.max_concurrency)

    @field_validator("tls_client_scopes")
    @classmethod
    def _known_scopes(cls, scopes: list[str]) -> list[str]:
        return sorted(parse_scopes(scopes))

    @field_validator("tls_admins")
    @classmethod
    def _names(cls, admins: list[str]) -> list[str]:
        return [name for each in admins for part in each.split(",") if (name := part.strip())]

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if faults := self._faults():
            raise ValueError("; ".join(faults))
        return self

    def _faults(self) -> list[str]:
        jwt = {"--jwt-jwks": self.jwt_jwks, "--jwt-issuer": self.jwt_issuer, "--jwt-audience": self.jwt_audience}
        missing = [name for name, value in jwt.items() if value is None]
        checks = (
            (self.tls_key and not self.tls_certificate, "--tls-key needs --tls-certificate"),
            (self.tls_certificate and not self.tls_key, "--tls-certificate needs --tls-key"),
            (self.tls_client_ca and not self.tls_certificate, "--tls-client-ca needs --tls-certificate"),
            (
                self.tls_client_scopes != ["infer"] and not self.tls_client_ca,
                "--tls-client-scopes needs --tls-client-ca",
            ),
            (self.tls_admins and not self.tls_client_ca, "--tls-admins needs --tls-client-ca"),
            (0 < len(missing) < len(jwt), f"tokens need {' and '.join(missing)} too"),
            (self.rate_burst and not self.rate_limit, "--rate-burst needs --rate-limit"),
        )
        return [fault for broken, fault in checks if broken]
