"""Connection options shared by all client commands."""

from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from bertwire_core.options import Config


class ConnectionConfig(Config):
    """Connection settings of a command."""

    tls_ca: Path | None = Field(
        None, description="CA certificates, PEM, that the server's certificate is checked with; turns TLS on."
    )
    tls_certificate: Path | None = Field(None, description="Client certificate, PEM, where the server asks for one.")
    tls_key: Path | None = Field(None, description="Private key of --tls-certificate, PEM.")
    api_key_file: Path | None = Field(
        None, description="File with the API key or token to send; default: the variable BERTWIRE_API_KEY, if set."
    )

    @model_validator(mode="after")
    def _tls_complete(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("--tls-certificate and --tls-key go together; give both or none")
        if self.tls_certificate is not None and self.tls_ca is None:
            raise ValueError("--tls-certificate needs --tls-ca")
        return self

    def credentials(self) -> dict[str, Any]:
        """Return a client's credential arguments; raise `UserError` for an invalid file."""
        from bertwire_client.channel import read_api_key, tls_credentials

        tls = None if self.tls_ca is None else tls_credentials(self.tls_ca, self.tls_certificate, self.tls_key)
        return {"credentials": tls, "api_key": read_api_key(self.api_key_file)}
