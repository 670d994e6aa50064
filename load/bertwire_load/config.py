"""Settings of `bertwire load`."""

from pathlib import Path
from typing import Literal, Self, get_args

from pydantic import Field, field_validator, model_validator

from bertwire_client.connection import ConnectionConfig
from bertwire_client.requests import Priority
from bertwire_core.files import output_path
from bertwire_core.options import argument, needs
from bertwire_load.arrivals import Arrivals
from bertwire_load.mix import Mix, parse_mix, parse_seconds
from bertwire_load.texts import parse_lengths

# Seconds; times above it do not fit the histograms.
LONGEST = 3600.0


def _size(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise ValueError(f"{text!r} is no number of texts above 0")
    return int(text)


def _priority(text: str) -> Priority:
    found: dict[str, Priority] = {each: each for each in get_args(Priority)}
    if text not in found:
        raise ValueError(f"{text!r} is no priority; choose of {', '.join(found)}")
    return found[text]


def _deadline(text: str) -> float:
    if (seconds := parse_seconds(text)) > LONGEST:
        raise ValueError(f"{text} is more than an hour; give a shorter deadline")
    return seconds


class LoadConfig(ConnectionConfig):
    """Settings of one load test."""

    address: str = argument("The server's host:port, or unix:PATH.")
    compare: str | None = Field(
        None, description="Second server, measured in turns with the first one, under the same calls."
    )
    rounds: int = Field(
        3, ge=1, description="With --compare: turns of each server at each load.", json_schema_extra=needs("compare")
    )
    protocol: Literal["bertwire", "oip", "tei"] = Field(
        "bertwire",
        description="bertwire.v1; the Open Inference Protocol, as of Triton and MLServer; or that of "
        "text-embeddings-inference.",
    )
    model: str = Field("", description="Model to ask; default: the server's own default.")
    model_version: str = Field("", description="Version or alias of the model; default: its default version.")
    input_name: str = Field("text", description="With --protocol oip: name of the model's BYTES input.")
    embed: bool = Field(False, description="Ask for vectors instead of labels, with --protocol bertwire or tei.")

    rate: list[float] = Field(
        [50], min_length=1, description="Calls a second, sent when they are due; repeat for several loads in turn."
    )
    arrivals: Arrivals = Field("poisson", description="Gaps between calls: as of many independent callers, or equal.")
    concurrency: list[int] = Field(
        [], description="Closed loop in place of --rate: calls in flight; repeat for several loads in turn."
    )
    find_max: bool = Field(
        False, description="Search the highest rate that keeps --slo-p99 and --slo-errors, from --rate on."
    )
    slo_p99: str | None = Field(
        None,
        description="Latency that 99% of the answered calls keep, such as 50ms.",
        json_schema_extra=needs("find_max"),
    )
    slo_errors: float = Field(
        0.01, ge=0, lt=1, description="Greatest share of failed calls.", json_schema_extra=needs("find_max")
    )

    duration: float = Field(10, gt=0, le=86_400, description="Seconds of each measurement.")
    warmup: float = Field(2, ge=0, le=3600, description="Seconds of the same load before it, which are not counted.")
    processes: int = Field(1, ge=1, le=256, description="Client processes, each with a connection of its own.")
    texts: Path | None = Field(
        None, description="Recorded texts: a table, or a .txt file with one a line. They are sent in their order."
    )
    text_column: str = Field("text", description="Column of --texts with the text.", json_schema_extra=needs("texts"))
    words: str = Field(
        "lognormal:20,0.6",
        description="Lengths of synthetic texts, without --texts: a number of words, lognormal:MEDIAN,SIGMA or "
        "quantiles:MIN,...,MAX.",
    )
    call_size: str = Field("1", description="Texts of a call; a mix by weights such as 1:90,32:10.")
    priority: str = Field("normal", description="Priority of a call; a mix such as high:1,normal:9.")
    deadline: str = Field("10s", description="Deadline of a call; a mix such as 250ms:5,1s:5.")
    seed: int = Field(0, description="Seed of arrivals, texts and mixes.")
    output: Path | None = Field(
        None, description="Folder to write load.json and report.html to; default: load-DATE-TIME."
    )
    overwrite: bool = Field(False, description="Replace --output if it exists.", json_schema_extra=needs("output"))

    @field_validator("output")
    @classmethod
    def _place(cls, path: Path | None) -> Path | None:
        return None if path is None else output_path(path)

    @field_validator("rate", "concurrency")
    @classmethod
    def _positive(cls, loads: list[float]) -> list[float]:
        if any(each <= 0 for each in loads):
            raise ValueError("give numbers above 0")
        return loads

    @model_validator(mode="after")
    def _mixes(self) -> Self:
        for name, read in {"call_size": _size, "priority": _priority, "deadline": _deadline}.items():
            try:
                parse_mix(getattr(self, name), read)
            except ValueError as error:
                raise ValueError(f"--{name.replace('_', '-')}: {error}") from None
        try:
            parse_lengths(self.words)
        except ValueError as error:
            raise ValueError(f"--words: {error}") from None
        return self

    @model_validator(mode="after")
    def _one_load(self) -> Self:
        if self.concurrency and (given := {"rate", "arrivals", "find_max"} & self.model_fields_set):
            raise ValueError(f"--{min(given).replace('_', '-')} is for an open loop; leave it out with --concurrency")
        if any(each < self.processes for each in self.concurrency):
            raise ValueError("--concurrency is less than --processes; each process has a call in flight at least")
        if self.find_max and self.slo_p99 is None:
            raise ValueError("--find-max needs --slo-p99, such as 50ms")
        if self.find_max and "rounds" in self.model_fields_set:
            raise ValueError("--rounds is not for --find-max, whose searches take turns; leave it out")
        if self.find_max and len(self.rate) > 1:
            raise ValueError("--find-max begins at one --rate; give one")
        if self.slo_p99 is not None:
            parse_seconds(self.slo_p99)
        if self.compare == self.address:
            raise ValueError("--compare is ADDRESS itself; give another server")
        if self.texts is not None and "words" in self.model_fields_set:
            raise ValueError("--words is for synthetic texts; leave it out with --texts")
        return self

    @model_validator(mode="after")
    def _of_protocol(self) -> Self:
        if self.protocol != "oip" and "input_name" in self.model_fields_set:
            raise ValueError("--input-name is for --protocol oip")
        if self.protocol == "oip" and self.embed:
            raise ValueError("--embed has no effect with --protocol oip, which asks for all outputs; leave it out")
        if self.protocol == "tei":
            if self.sizes.values != (1,) or self.priorities.values != ("normal",):
                raise ValueError("--protocol tei has one text a call and no priorities")
            if self.model or self.model_version:
                raise ValueError("--protocol tei asks the server's default model; leave out --model")
        return self

    @property
    def addresses(self) -> list[str]:
        """Return the servers to measure, one or two."""
        return [self.address] if self.compare is None else [self.address, self.compare]

    @property
    def sizes(self) -> Mix[int]:
        """Return the numbers of texts of a call."""
        return parse_mix(self.call_size, _size)

    @property
    def priorities(self) -> Mix[Priority]:
        """Return the priorities of calls."""
        return parse_mix(self.priority, _priority)

    @property
    def deadlines(self) -> Mix[float]:
        """Return the deadlines of calls, in seconds."""
        return parse_mix(self.deadline, _deadline)
