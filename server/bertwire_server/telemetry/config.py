"""Settings of metrics, traces and logs."""

import os
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from bertwire_core.options import Config
from bertwire_server.listen import is_unix, read_host

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


class TelemetryConfig(Config):
    """Settings of metrics, traces and logs; each becomes an option of the command."""

    metrics_port: int | None = Field(
        None, ge=0, le=65535, description="Port of Prometheus metrics, at /metrics; 0 takes a free one. Default: none."
    )
    metrics_host: str = Field(
        "127.0.0.1", min_length=1, description="Address of the metrics; 0.0.0.0 for every interface."
    )
    otlp_endpoint: str | None = Field(
        None,
        pattern=r"^https?://[^\s/]+/?$",
        description="Collector for OpenTelemetry traces over OTLP's gRPC, as http://127.0.0.1:4317; https:// for TLS. "
        "Default: what OTEL_EXPORTER_OTLP_ENDPOINT says, or no traces.",
    )
    trace_ratio: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Share of calls traced where the caller has not decided it. Default: what OTEL_TRACES_SAMPLER "
        "says, or 0.01.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severe message logged; debug has a line for every call."
    )
    log_format: Literal["text", "json"] = Field("text", description="One line a message, or one JSON object.")
    log_texts: bool = Field(
        False,
        description="At --log-level debug also log the texts of calls, with e-mail addresses, numbers of phones, "
        "cards, accounts and people, and IP addresses masked. What names or tells a person in words stays readable.",
    )

    @field_validator("metrics_host")
    @classmethod
    def _metrics_have_a_port(cls, host: str) -> str:
        if is_unix(host):
            raise ValueError("metrics are served at a port; give a name or an IP address")
        return read_host(host)

    @property
    def traces(self) -> bool:
        """Return whether traces have a collector to go to."""
        if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
            return False
        return self.otlp_endpoint is not None or any(os.environ.get(name) for name in _ENDPOINTS)

    @model_validator(mode="after")
    def _texts_would_be_logged(self) -> Self:
        if self.log_texts and self.log_level != "debug":
            raise ValueError(f"--log-texts logs nothing at --log-level {self.log_level}; set it to debug")
        return self
