"""What `bertwire score` can be told."""

from pathlib import Path
from typing import Self

from pydantic import Field, field_validator, model_validator

from bertwire_client.files import output_path, require_apart
from bertwire_client.options import Config, argument
from bertwire_client.tables import table_format


class ScoreConfig(Config):
    """Settings of one scoring job; each becomes an option of the command."""

    input: Path = argument("File with a text in each row: CSV, TSV, JSONL or Parquet.")
    output: Path = Field(description="File to write, in the input's format; it appears whole or not at all.")
    text_column: str = Field("text", description="Column with the text.")
    prefix: str = Field("predicted_", description="What the names of the added columns begin with.")
    all_scores: bool = Field(False, description="Add the column scores: every label's score, as a JSON object.")
    overwrite: bool = Field(False, description="Replace the output, and the summary, if they exist.")
    summary: Path | None = Field(None, description="JSON file for the summary, for programs.")

    address: str = Field("localhost:8500", min_length=1, description="The server's host:port.")
    tls_ca: Path | None = Field(
        None, description="CA certificates, PEM, that the server's certificate is checked with; turns TLS on."
    )
    tls_certificate: Path | None = Field(None, description="Client certificate, PEM, where the server asks for one.")
    tls_key: Path | None = Field(None, description="Private key of --tls-certificate, PEM.")
    api_key_file: Path | None = Field(
        None, description="File with the API key or token to send; default: the variable BERTWIRE_API_KEY, if set."
    )
    model: str = Field("", description="Model to ask; default: the one that the server has.")
    batch_size: int = Field(32, ge=1, description="Texts in one call.")
    concurrency: int = Field(8, ge=1, description="Calls in flight at once.")
    timeout: float = Field(60, gt=0, le=86_400, description="Seconds that one call may take.")
    max_outage: float = Field(
        60, ge=0, description="Seconds to wait for a server that is gone, warming up or overloaded."
    )

    @field_validator("output", "summary")
    @classmethod
    def _places(cls, path: Path | None) -> Path | None:
        return None if path is None else output_path(path)

    @model_validator(mode="after")
    def _same_format(self) -> Self:
        if (kind := table_format(self.input)) != table_format(self.output):
            raise ValueError(f"the output is written in the input's format, {kind}; give {self.output} that ending")
        return self

    @model_validator(mode="after")
    def _tls_complete(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("--tls-certificate and --tls-key go together; give both or none")
        if self.tls_certificate is not None and self.tls_ca is None:
            raise ValueError("--tls-certificate needs --tls-ca")
        return self

    @model_validator(mode="after")
    def _files_apart(self) -> Self:
        require_apart(self.output, self.input)
        if self.summary is not None:
            require_apart(self.summary, self.input, self.output)
        return self
