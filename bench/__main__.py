"""The server against raw ONNX Runtime and another commit: one thread, server and client each on a core of its own.

Rounds interleave what is compared, so that a slow minute of the machine falls on all of it. CPU time is the process's
own, all threads. Run it with `make bench`.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from bench.bars import Row, rows
from bench.machine import machine
from bench.measure import Measured, measure
from bench.plan import IN_FLIGHT, QUICK, Plan
from bench.processes import CLIENT_CORE, SERVER_CORE
from bench.show import bars_table, figures_table, plot
from bench.sides import OTHER, THIS, Side, both_sides, this_side
from bench.timeline import Timeline
from bertwire_core.console import err, out
from bertwire_core.errors import UserError
from bertwire_core.process import readable

# By variant, by side, what was measured.
Found = dict[str, dict[str, Measured]]


def main() -> None:
    """Measure every variant; print the tables and write the JSON and the plot."""
    arguments = _parser().parse_args()
    with readable("bench"):
        plan = _plan(arguments)
        sides = _sides(arguments)
        if SERVER_CORE == CLIENT_CORE:
            err.print("there is one core: server and client share it, and the figures mean little", style="red")
        found = {name: measure(sides, name, arguments.texts, plan) for name in arguments.variants}
        judged = {name: _judge(measured) for name, measured in found.items()}
        arguments.output.write_text(
            json.dumps(_document(arguments.texts, plan, sides, found, judged), indent=2) + "\n", encoding="utf-8"
        )
        plot(_timelines(found), arguments.output.with_suffix(".png"))
    _show(sides, found, judged)
    out.print(f"written to {arguments.output}, with a plot beside it")
    if unmet := sum(not row.met for table in judged.values() for row in table):
        out.print(f"{unmet} bars are not met", style="red")
        if arguments.check:
            sys.exit(1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    bundles = parser.add_mutually_exclusive_group()
    bundles.add_argument("--bundle", type=Path, default=Path("build/demo/vader"), help="not with --against")
    bundles.add_argument("--against", metavar="REV", help="a commit to compare with")
    parser.add_argument("--texts", type=Path, default=Path("build/demo/test.csv"), help="table with a column text")
    parser.add_argument("--variants", nargs="+", default=["int8", "fp32"], help="by name or precision")
    parser.add_argument("--quick", action="store_true", help="one round, and seconds where it else is many")
    parser.add_argument("--rounds", type=int, help=f"turns of each side; default {Plan.rounds}")
    parser.add_argument("--seconds", type=float, help=f"the overload; default {Plan.overload:.0f}")
    parser.add_argument("--check", action="store_true", help="end with status 1 where a bar is not met")
    parser.add_argument("--output", type=Path, default=Path("bench/results/serving-cpu.json"))
    return parser


def _plan(arguments: argparse.Namespace) -> Plan:
    given = {"rounds": arguments.rounds, "overload": arguments.seconds}
    if any(value is not None and value <= 0 for value in given.values()):
        raise UserError("rounds and seconds must be above 0")
    plan = QUICK if arguments.quick else Plan()
    return replace(plan, **{name: value for name, value in given.items() if value is not None})


def _sides(arguments: argparse.Namespace) -> list[Side]:
    needed = (arguments.texts,) if arguments.against else (arguments.texts, arguments.bundle)
    for path in needed:
        if not path.exists():
            raise UserError(f"{path} is missing; make demo makes what is measured by default")
    return both_sides(arguments.against) if arguments.against else [this_side(arguments.bundle)]


def _judge(measured: dict[str, Measured]) -> list[Row]:
    return rows(measured[THIS].turns, measured[OTHER].turns if OTHER in measured else None)


def _document(
    texts: Path, plan: Plan, sides: Sequence[Side], found: Found, judged: dict[str, list[Row]]
) -> dict[str, object]:
    variants = {
        name: {
            "bars": [_bar(row) for row in judged[name]],
            "figures": {side: each.medians() for side, each in measured.items()},
            "not_measured": {side: each.failures for side, each in measured.items()},
        }
        for name, measured in found.items()
    }
    return {
        "texts": str(texts),
        "in_flight": IN_FLIGHT,
        "plan": asdict(plan),
        "cores": {"server": SERVER_CORE, "client": CLIENT_CORE},
        "machine": machine(),
        "sides": {side.name: {"commit": side.commit, "bundle": str(side.bundle)} for side in sides},
        "variants": variants,
    }


def _bar(row: Row) -> dict[str, object]:
    bar = row.bar
    return {"name": bar.name, "figure": row.figure, "comparison": bar.comparison, "bar": bar.limit, "met": row.met}


def _timelines(found: Found) -> dict[str, Timeline]:
    return {
        f"{variant}: {side}": each.timeline
        for variant, measured in found.items()
        for side, each in measured.items()
        if each.timeline is not None
    }


def _show(sides: Sequence[Side], found: Found, judged: dict[str, list[Row]]) -> None:
    for side in sides:
        out.print(f"{side.name}: {side.commit}", highlight=False)
    for name, measured in found.items():
        out.print(figures_table(name, {side: each.medians() for side, each in measured.items()}))
        out.print(bars_table(f"{name}: what it has to reach", judged[name]))


if __name__ == "__main__":
    main()
