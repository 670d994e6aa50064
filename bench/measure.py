"""One variant, measured on every side in every mode."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import plan as sizes
from bench.figures import Figures, over_rounds
from bench.plan import Plan
from bench.processes import Server, client, raw, serving
from bench.raw import BATCH
from bench.sides import THIS, Side
from bench.timeline import Timeline
from bertwire_core.console import err, progress
from bertwire_core.errors import UserError

# By mode, the function that measures it and its arguments: `raw`, or one of the client's modes in `bench.load`.
Modes = dict[str, tuple[str, dict[str, Any]]]


@dataclass
class Measured:
    """What was measured of one side.

    Attributes:
        turns: by mode, the figures of every round.
        failures: by mode, why it could not be measured.
        timeline: calls over time in the latest overload.
    """

    turns: dict[str, list[Figures]] = field(default_factory=lambda: defaultdict(list))
    failures: dict[str, str] = field(default_factory=dict)
    timeline: Timeline | None = None

    def medians(self) -> dict[str, Figures]:
        """Return the median round of each mode's figures."""
        return {mode: over_rounds(turns) for mode, turns in self.turns.items()}


def measure(sides: Sequence[Side], variant: str, texts: Path, plan: Plan) -> dict[str, Measured]:
    """Measure a variant on the sides in turn; a mode that fails is noted, and the others go on.

    Each turn has a server of its own, so that no other is on its core. Raw ONNX Runtime is measured on this side alone.

    Args:
        sides: what is compared.
        variant: name or precision.
        texts: table of the texts to send.
        plan: how long.

    Returns:
        By the side's name, what was measured.

    Raises:
        UserError: a server does not start, or does not end with status 0.
    """
    measured = {side.name: Measured() for side in sides}
    turns = [(side, _raw_modes(plan, side) | _served_modes(plan)) for side in interleaved(sides, plan.rounds)]
    turns += [(side, _overload_mode(plan)) for side in interleaved(sides, plan.overloads)]
    with progress(variant, len(turns)) as bar:
        for done, (side, modes) in enumerate(turns):
            with serving(side, variant) as server:
                for place, (mode, (function, options)) in enumerate(modes.items()):
                    bar(done + place / len(modes), f"{side.name}: {mode}")
                    if function == "raw":
                        measured[side.name].turns[mode].append(raw(side.bundle, variant, texts, **options))
                    else:
                        _client(measured[side.name], mode, server, function, texts, options)
        bar(len(turns))
    return measured


def interleaved(sides: Sequence[Side], rounds: int) -> Iterator[Side]:
    """Yield each side once a round, in reversed order every other round: a drift of the machine favours no side."""
    for number in range(rounds):
        yield from reversed(sides) if number % 2 else sides


def _raw_modes(plan: Plan, side: Side) -> Modes:
    if side.name != THIS:
        return {}
    return {
        "raw": ("raw", {"size": BATCH, "most": plan.texts}),
        "raw, one text": ("raw", {"size": 1, "most": plan.single_texts}),
    }


def _served_modes(plan: Plan) -> Modes:
    large = {"in_flight": sizes.LARGE_IN_FLIGHT, "texts_each": sizes.LARGE_TEXTS}
    fair = {"callers": sizes.FAIR_CALLERS, "large_texts": sizes.FAIR_TEXTS, "seconds": plan.fair}
    return {
        "calls": ("closed", {"in_flight": sizes.IN_FLIGHT, "texts_each": 1, "most": plan.texts}),
        "stream": ("stream", {"in_flight": sizes.IN_FLIGHT, "most": plan.texts}),
        "large calls": ("closed", large | {"most": plan.texts}),
        "one call": ("closed", {"in_flight": 1, "texts_each": 1, "most": plan.single_texts}),
        "fairness": ("fairness", fair),
    }


def _overload_mode(plan: Plan) -> Modes:
    options = {
        "in_flight": sizes.IN_FLIGHT,
        "times": sizes.OVERLOAD_TIMES,
        "deadline": sizes.OVERLOAD_DEADLINE_SECONDS,
        "before": plan.capacity,
        "seconds": plan.overload,
        "after": plan.recovery,
    }
    return {"overload": ("overload", options)}


def _client(measured: Measured, mode: str, server: Server, function: str, texts: Path, options: dict[str, Any]) -> None:
    """Measure one of the client's modes unless it has failed in an earlier round."""
    if mode in measured.failures:
        return
    try:
        figures, timeline = client(server, function, texts, options)
    except UserError as error:
        measured.failures[mode] = str(error)
        err.print(f"{mode} was not measured: {error}", style="red", markup=False)
        return
    measured.turns[mode].append(figures)
    measured.timeline = timeline or measured.timeline
