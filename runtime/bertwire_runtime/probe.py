"""The probe: sequences of token ids and the logits that each variant gave for them where it was proven.

Any machine can run it and see whether its processor and its ONNX Runtime compute what was proven. Needs numpy.
docs/decisions/022-probe.md says what the comparison finds and what it lets pass.
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
from bertwire_runtime.bundle.manifest import Identifier, Provider, Variant
from bertwire_runtime.bundle.parse import read_strictly
from bertwire_runtime.bundle.reader import Bundle

PROBE = "probe.json"
# The share of sequences that may be off by more than their tolerance. In int8 a difference in rounding that moves one
# activation over a step changes all that follows in its sequence, by as much as a wrong weight would. Halved, right
# bundles are refused on processors before AVX2.
_STRAYS = 1 / 8
# How far off such a sequence may be, in logits: so many times the largest tolerance, and in int8, where the tolerances
# of few sequences show steps, at least the other. Halved, a right int8 bundle comes close to it on such a processor; a
# wrong row of an embedding or a wrong position moves its sequences by several times that.
_STRAY_TOLERANCES, _INT8_STRAY = 8.0, 0.1
# The largest tolerance that a proof can mean, in logits: beyond it labels change.
_MAX_TOLERANCE = 1.0
# Fewer sequences are no proof of anything.
_LEAST_SEQUENCES = 8
# Tokens computed by one run: more share little more of its cost, and take the memory of a larger batch.
_RUN_TOKENS = 1024

Floats = NDArray[np.float32]
# Runs one batch: for each sequence float32 [labels], or [tokens, labels] where every token has logits.
Run = Callable[[Sequence["TokenSequence"]], Sequence[Floats]]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class TokenSequence(_Part):
    """One sequence.

    Attributes:
        ids: token ids, special tokens included.
        type_ids: the segment of each token.
    """

    ids: tuple[Annotated[int, Field(ge=0, lt=2**31)], ...] = Field(min_length=1, max_length=8192)
    type_ids: tuple[Annotated[int, Field(ge=0, lt=2**31)], ...]

    @model_validator(mode="after")
    def _one_segment_a_token(self) -> Self:
        if len(self.ids) != len(self.type_ids):
            raise ValueError("as many segments as tokens are needed")
        return self


class Expected(_Part):
    """What a variant gives on one provider.

    Attributes:
        variant: its name.
        provider: where it was proven.
        tolerances: of each sequence the most that rounding explains of its deviation (`deviations`).
        logits: of each sequence [labels], or [tokens * labels] where every token has logits.
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
    """The content of `probe.json`.

    Attributes:
        sequences: what is run.
        expected: the logits of every variant, one entry a provider.
    """

    sequences: tuple[TokenSequence, ...] = Field(min_length=_LEAST_SEQUENCES)
    expected: tuple[Expected, ...]

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if len({(each.variant, each.provider) for each in self.expected}) < len(self.expected):
            raise ValueError("a variant has two entries for one provider")
        return self

    def of(self, variant: str, provider: Provider) -> Expected:
        """The entry of a variant on a provider; raises `BundleError` where there is none that fits the sequences."""
        for each in self.expected:
            if (each.variant, each.provider) == (variant, provider) and len(each.logits) == len(self.sequences):
                return each
        raise BundleError(f"{PROBE} has no logits of variant {variant} on {provider}; export the checkpoint again")


@dataclass(frozen=True, slots=True)
class Checked:
    """What the probe found of a variant on this machine.

    Attributes:
        variant: its name.
        provider: where it was run.
        sequences: how many the probe has.
        differing: of how many the logits are further off than rounding explains.
        largest: the largest deviation of a sequence; None where the variant did not run, or gave what is no number.
        most: the largest deviation that a sequence may have.
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
        """What is wrong, in one line; None where the variant computes what was proven."""
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
    """The probe of a bundle; None where its schema has none. Raises `BundleError` where it cannot be used."""
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
    """Runs the probe; `run` runs a variant on a provider. Raises `BundleError` where the probe does not have it."""
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
    """Runs sequences in a few batches: for each its logits, flat."""
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
    """Of each sequence the root mean square of its logits' differences; infinite where these are no numbers."""
    return np.array([_distance(one, np.array(other)) for one, other in zip(found, expected, strict=True)])


def _distance(found: Floats, expected: NDArray[np.floating]) -> float:
    if len(found) != len(expected) or not np.isfinite(found).all():
        return inf
    return float(np.sqrt(np.mean((found - expected.astype(np.float64)) ** 2)))
