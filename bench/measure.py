"""One variant, measured in every mode."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import plan as sizes
from bench.figures import Figures
from bench.plan import Plan
from bench.processes import Server, client, raw, serving
from bench.raw import BATCH
from bench.timeline import Timeline
from bertwire_core.console import Bar, err, progress
from bertwire_core.errors import UserError


@dataclass
class Measured:
    """What was found of one variant.

    Attributes:
        turns: by mode, the figures of every round; modes that run once have one.
        failures: by mode, why it could not be measured.
        timelines: by mode, calls over time.
    """

    turns: dict[str, list[Figures]] = field(default_factory=lambda: defaultdict(list))
    failures: dict[str, str] = field(default_factory=dict)
    timelines: dict[str, Timeline] = field(default_factory=dict)


@dataclass(frozen=True)
class Source:
    """The bundle, its variant and the texts to send."""

    bundle: Path
    variant: str
    texts: Path


def measure(source: Source, plan: Plan) -> Measured:
    """Measures a variant; a mode that fails is noted, and the rest is measured all the same.

    Raises:
        UserError: there is no server to measure.
    """
    measured = Measured()
    loads = _loads(plan)
    with progress(source.variant, plan.rounds + len(loads)) as bar:
        _rounds(source, plan, measured, bar)
        for done, (mode, options) in enumerate(loads.items(), plan.rounds):
            bar(done, mode)
            _load(source, mode, options, measured)
        bar(plan.rounds + len(loads))
    return measured


def _rounds(source: Source, plan: Plan, measured: Measured, bar: Bar) -> None:
    """Raw ONNX Runtime and the server take turns, so that a slow minute of the machine falls on all of them."""
    with serving(source.bundle, source.variant) as server:
        turns = _turns(source, server, plan)
        for done in range(plan.rounds):
            for place, (mode, turn) in enumerate(turns.items()):
                bar(done + place / len(turns), mode)
                if mode in measured.failures:
                    continue
                try:
                    measured.turns[mode].append(turn())
                except UserError as error:
                    _fail(measured, mode, error)
    if server.totals:
        measured.turns["totals"].append(server.totals)


def _turns(source: Source, server: Server, plan: Plan) -> dict[str, Callable[[], Figures]]:
    def alone(order: str, size: int, most: int) -> Callable[[], Figures]:
        return lambda: raw(source.bundle, source.variant, source.texts, order, size, most)

    def served(mode: str, **options: float) -> Callable[[], Figures]:
        return lambda: client(server, mode, source.texts, **options)[0]

    return {
        "raw": alone("arrival", BATCH, plan.texts),
        "calls": served("closed", in_flight=sizes.IN_FLIGHT, texts_each=1, most=plan.texts),
        "stream": served("stream", in_flight=sizes.IN_FLIGHT, most=plan.texts),
        "large calls": served("closed", in_flight=sizes.LARGE_IN_FLIGHT, texts_each=sizes.LARGE_TEXTS, most=plan.texts),
        "raw, sorted": alone("sorted", BATCH, plan.texts),
        "raw, one text": alone("arrival", 1, plan.single_texts),
        "one call": served("closed", in_flight=1, texts_each=1, most=plan.single_texts),
    }


def _loads(plan: Plan) -> dict[str, dict[str, Any]]:
    """The modes that have a server of their own, whose totals are theirs alone, and their options."""
    before_after = {"before": plan.capacity, "after": plan.recovery, "in_flight": sizes.IN_FLIGHT}
    return {
        "storm": before_after | {"deadline": sizes.STORM_DEADLINE_SECONDS, "seconds": plan.storm},
        "overload": before_after | {"times": sizes.OVERLOAD_TIMES, "seconds": plan.overload},
        "fairness": {
            "callers": sizes.FAIR_CALLERS,
            "large_texts": sizes.FAIR_TEXTS,
            "seconds": plan.fair,
            "rounds": plan.fair_rounds,
        },
        "gone": {"callers": sizes.GONE_CALLERS, "in_flight": sizes.IN_FLIGHT, "before": min(plan.capacity, 3.0)},
    }


def _load(source: Source, mode: str, options: dict[str, Any], measured: Measured) -> None:
    try:
        with serving(source.bundle, source.variant) as server:
            figures, timeline = client(server, mode, source.texts, **options)
    except UserError as error:
        _fail(measured, mode, error)
        return
    if server.totals and "answered" in figures:
        figures |= {"texts_run": server.totals["texts"], "batches": server.totals["batches"]}
    measured.turns[mode].append(figures)
    if timeline is not None:
        measured.timelines[mode] = timeline


def _fail(measured: Measured, mode: str, error: UserError) -> None:
    measured.failures[mode] = str(error)
    err.print(f"{mode} was not measured: {error}", style="red", markup=False)
