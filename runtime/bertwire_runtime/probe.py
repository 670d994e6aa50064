"""The probe: token sequences with the logits that each variant gave for them at export.

Running it shows whether this machine's processor and ONNX Runtime compute the same. Needs numpy.
docs/decisions/022-probe.md describes what the comparison detects.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import inf, isfinite
from typing import Annotated, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from bertwire_core.errors import first_line
from bertwire_runtime.bundle.errors import BundleError
from bertwire_runtime.bundle.manifest import Identifier, Variant
from bertwire_runtime.bundle.parse import read_strictly
from bertwire_runtime.bundle.proof import Provider
from bertwire_runtime.bundle.reader import Bundle

PROBE = "probe.json"
# Share of sequences that may exceed their tolerance: in int8 a rounding difference that moves one activation by a step
# changes the rest of its sequence as much as a wrong weight would. Halved, correct bundles fail on processors before
# AVX2.
_STRAYS = 1 / 8
# Largest deviation of such a sequence: a multiple of the largest tolerance, and in int8 at least _INT8_STRAY logits.
# Halved, correct int8 bundles come close to it on such processors; wrong positions in long texts reach the double of it
# (docs/decisions/022-probe.md).
_STRAY_TOLERANCES, _INT8_STRAY = 8.0, 0.1
# Largest valid tolerance in logits; beyond it labels change.
_MAX_TOLERANCE = 1.0
# Fewer sequences prove nothing.
_LEAST_SEQUENCES = 8
# Tokens per run; larger batches save little time and take more memory.
_RUN_TOKENS = 1024

Floats = NDArray[np.float32]
# Runs one batch: per sequence float32 [labels], or [tokens, labels] for logits per token.
Run = Callable[[Sequence["TokenSequence"]], Sequence[Floats]]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class TokenSequence(_Part):
    """One sequence."""

    ids: tuple[Annotated[int, Field(ge=0, lt=2**31)], ...] = Field(min_length=1, max_length=8192)
    type_ids: tuple[Annotated[int, Field(ge=0, lt=2**31)], ...]

    @model_validator(mode="after")
    def _one_segment_a_token(self) -> Self:
        if len(self.ids) != len(self.type_ids):
            raise ValueError("as many segments as tokens are needed")
        return self


class Expected(_Part):
    """A variant's logits on one provider.

    Attributes:
        provider: the provider at export.
        tolerances: per sequence the largest deviation (`deviations`) that rounding explains.
        logits: per sequence [labels], or [tokens * labels] for logits per token.
    """

    variant: Identifier
    provider: Provider
    tolerances: tuple[Annotated[float, Field(gt=0, le=_MAX_TOLERANCE)], ...]
    logits: tuple[tuple[float, ...], ...]

    @model_validator(mode="after")
    def _one_tolerance_a_sequence(self) -> Self:
        if len(self.tolerances) != len(self.logits):
            raise ValueError("as many tolerances as sequences are needed")
        return self


class Probe(_Part):
    """The content of `probe.json`."""

    sequences: tuple[TokenSequence, ...] = Field(min_length=_LEAST_SEQUENCES)
    expected: tuple[Expected, ...]

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if len({(each.variant, each.provider) for each in self.expected}) < len(self.expected):
            raise ValueError("a variant has two entries for one provider")
        return self

    def of(self, variant: str, provider: Provider) -> Expected:
        """Return the entry of a variant on a provider; raise `BundleError` where none fits the sequences."""
        for each in self.expected:
            if (each.variant, each.provider) == (variant, provider) and len(each.logits) == len(self.sequences):
                return each
        raise BundleError(f"{PROBE} has no logits of variant {variant} on {provider}; export the checkpoint again")


@dataclass(frozen=True, slots=True)
class Checked:
    """The probe's result for a variant on this machine.

    Attributes:
        sequences: number of sequences.
        differing: number of sequences that exceed their tolerance.
        largest: the largest deviation; None where the variant did not run, or gave NaN or infinity.
        most: the largest deviation allowed.
        failure: why it did not run; else empty.
    """

    variant: str
    provider: Provider
    sequences: int
    differing: int
    largest: float | None
    most: float
    failure: str = ""

    @property
    def fault(self) -> str | None:
        """Return the fault in one line; None where the probe passed."""
        if self.failure:
            return f"{self.variant} fails on the bundle's probe: {self.failure}"
        allowed = int(self.sequences * _STRAYS)
        if self.differing <= allowed and self.largest is not None and self.largest <= self.most:
            return None
        by = "some are no numbers" if self.largest is None else f"by up to {self.largest:.2g}"
        return (
            f"{self.variant} does not compute on this machine ({self.provider}) what was proven: on {self.differing} "
            f"of {self.sequences} sequences of the bundle's probe its logits are further off than rounding explains, "
            f"{by}; at most {allowed} sequences may be, by at most {self.most:.2g}"
        )


def read_probe(bundle: Bundle) -> Probe | None:
    """Read a bundle's probe; None where its schema has none. Raise `BundleError` where it is invalid."""
    if bundle.manifest.probe is None:
        return None
    content = bundle.read(bundle.manifest.probe)
    read_strictly(bundle.path, PROBE, content)
    try:
        return Probe.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "probe"
        raise BundleError(f"{bundle.path}: {PROBE} is wrong at {where:.200}: {first['msg']}") from None


def run_probe(probe: Probe, variant: Variant, provider: Provider, run: Run) -> Checked:
    """Run the probe with `run`; raise `BundleError` where it lacks the variant on the provider."""
    expected, count = probe.of(variant.name, provider), len(probe.sequences)
    most = max(_STRAY_TOLERANCES * max(expected.tolerances), _INT8_STRAY if variant.precision == "int8" else 0.0)
    try:
        found = deviations(answers(probe.sequences, run), expected.logits)
    except Exception as error:  # onnxruntime's exceptions share no public base
        return Checked(variant.name, provider, count, count, None, most, first_line(error))
    largest = float(found.max())
    differing = int((found > np.array(expected.tolerances)).sum())
    return Checked(variant.name, provider, count, differing, largest if isfinite(largest) else None, most)


def answers(sequences: Sequence[TokenSequence], run: Run) -> list[Floats]:
    """Run sequences in batches and return each one's logits, flat."""
    return [logits.reshape(-1) for batch in _batches(sequences) for logits in run(batch)]


def _batches(sequences: Sequence[TokenSequence]) -> Iterator[list[TokenSequence]]:
    batch: list[TokenSequence] = []
    for each in sequences:
        if batch and (len(batch) + 1) * max(len(one.ids) for one in (*batch, each)) > _RUN_TOKENS:
            yield batch
            batch = []
        batch.append(each)
    yield batch


def deviations(found: Sequence[Floats], expected: Sequence[Floats | tuple[float, ...]]) -> NDArray[np.float64]:
    """Return each sequence's root mean square logit difference; infinite for NaN, infinity or another shape."""
    return np.array([_distance(one, np.array(other)) for one, other in zip(found, expected, strict=True)])


def _distance(found: Floats, expected: NDArray[np.floating]) -> float:
    if len(found) != len(expected) or not np.isfinite(found).all():
        return inf
    return float(np.sqrt(np.mean((found - expected.astype(np.float64)) ** 2)))
