"""Settings of `bertwire serve`."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from bertwire_core.options import argument
from bertwire_server.access.config import AccessConfig
from bertwire_server.listen import is_unix, read_host
from bertwire_server.repository.config import RepositoryConfig
from bertwire_server.telemetry.config import TelemetryConfig


class ServerConfig(TelemetryConfig, AccessConfig, RepositoryConfig):
    """Settings of one server; each becomes an option of the command."""

    bundle: Path = argument(
        "Folder of the bundle to serve, written by bertwire export; or of a repository of bundles, NAME/VERSION/ each."
    )
    public_key: Path | None = Field(
        None, description="Ed25519 public key, PEM; a bundle that is not signed by it is refused. Default: none needed."
    )
    host: str = Field(
        "127.0.0.1",
        min_length=1,
        description="Address to listen on; 0.0.0.0 for every interface, unix:PATH for a socket file without a port.",
    )
    port: int = Field(8500, ge=0, le=65535, description="Port to listen on; 0 takes a free one and prints it.")
    variant: str | None = Field(
        None, description="Variant to serve, by name or precision; default: the bundle's fastest for the provider."
    )
    provider: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="ONNX Runtime provider; auto takes CUDA where it works and the CPU elsewhere."
    )
    threads: int = Field(
        0,
        ge=0,
        le=1024,
        description="Threads of one run on the CPU, of each model; 0 takes one for each core that the server may use, "
        "by its affinity and its cgroup's quota.",
    )
    processes: int = Field(
        1,
        ge=1,
        le=64,
        description="Servers behind the one port, each a process with its share of the cores and, unless --threads is "
        "given, one thread; on the CPU alone.",
    )
    max_batch_ms: float | None = Field(
        None,
        gt=0,
        le=60_000,
        description="Longest that a batch should run, in milliseconds; how many texts that are is learned while "
        "serving. Default: 40 on the CPU, 10 on CUDA.",
    )
    cache_mb: int = Field(
        0,
        ge=0,
        le=1 << 20,
        description="Memory of each model for answers that are given again where the same client sends the same text, "
        "in MiB; for variants whose answers do not depend on their batch. Default: none.",
    )
    max_queue_texts: int = Field(8192, ge=1, description="Most texts that wait; more are refused, not delayed.")
    max_texts: int = Field(1024, ge=1, description="Most texts of one call.")
    max_text_chars: int = Field(100_000, ge=1, description="Most characters of one text.")
    max_call_chars: int = Field(1_000_000, ge=1, description="Most characters of one call's texts together.")
    max_explain_spans: int = Field(
        64,
        ge=1,
        description="Most words, or groups of words, that Explain leaves out of a text; each is a text to run.",
    )
    allow_timeout_override: bool = Field(
        False,
        description="Take the parameter timeout of the Open Inference Protocol, in microseconds, for a deadline; "
        "Triton too ignores it unless told so.",
    )
    max_stream_requests: int = Field(
        256, ge=1, le=65536, description="Most unanswered requests of one stream; further ones are not read yet."
    )
    max_message_mb: int = Field(16, ge=1, le=1024, description="Largest message in or out, in MiB.")
    hang_seconds: float = Field(
        60.0, gt=0, description="A batch that runs longer counts as hung: its model stops serving, and health says so."
    )
    shutdown_delay_seconds: float = Field(
        5.0, ge=0, description="Seconds for which calls are still accepted at shutdown, with health NOT_SERVING."
    )
    drain_seconds: float = Field(
        30.0, ge=0, description="Longest wait for accepted work at shutdown, after the delay, in seconds."
    )

    @field_validator("host")
    @classmethod
    def _is_a_host(cls, host: str) -> str:
        return read_host(host)

    @model_validator(mode="after")
    def _processes_can_share(self) -> Self:
        if self.processes > 1 and is_unix(self.host):
            raise ValueError("--processes shares a port, and unix:PATH has none; give --host a name or an IP address")
        if self.processes > 1 and self.provider == "cuda":
            raise ValueError("--processes is for the CPU; give --provider cpu, or leave out --processes")
        return self

    @model_validator(mode="after")
    def _queue_takes_a_call(self) -> Self:
        if self.max_texts > self.max_queue_texts:
            raise ValueError(
                f"--max-queue-texts {self.max_queue_texts} could never take a call of --max-texts {self.max_texts}"
            )
        return self
