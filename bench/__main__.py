"""Server against raw ONNX Runtime, in one run: same graph, one thread, the server on one core, the client on another.

Rounds interleave what is compared, so that a slow minute of the machine falls on all of it. CPU time is the process's
own, all threads. Run it with `make bench`.
"""

import argparse
import json
import sys
from dataclasses import asdict, replace
from pathlib import Path

from bench.bars import Row, rows
from bench.figures import over_rounds
from bench.machine import machine
from bench.measure import Measured, Source, measure
from bench.plan import IN_FLIGHT, QUICK, Plan
from bench.processes import CLIENT_CORE, SERVER_CORE
from bench.show import bars_table, modes_table, plot
from bertwire_core.console import err, out
from bertwire_core.errors import UserError
from bertwire_core.process import readable


def main() -> None:
    """Measures every variant of the bundle; prints the tables and writes the JSON and the plot."""
    arguments = _parser().parse_args()
    with readable("bench"):
        if not (arguments.bundle.is_dir() and arguments.texts.is_file()):
            raise UserError(f"{arguments.bundle} or {arguments.texts} is missing; make demo makes both")
        plan = _plan(arguments)
        if SERVER_CORE == CLIENT_CORE:
            err.print("there is one core: server and client share it, and the figures mean little", style="red")
        found = {name: measure(Source(arguments.bundle, name, arguments.texts), plan) for name in arguments.variants}
        judged = {name: rows(measured) for name, measured in found.items()}
        _write(arguments, plan, found, judged)
    unmet = _show(found, judged)
    out.print(f"written to {arguments.output} and {_plot_path(arguments.output)}")
    if unmet:
        out.print(f"{unmet} bars are not met", style="red")
        if arguments.check:
            sys.exit(1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--bundle", type=Path, default=Path("build/demo/vader"))
    parser.add_argument("--texts", type=Path, default=Path("build/demo/test.csv"), help="table with a column text")
    parser.add_argument("--variants", nargs="+", default=["int8", "fp32"], help="by name or precision")
    parser.add_argument("--quick", action="store_true", help="one round, and seconds where it else is many")
    parser.add_argument("--rounds", type=int, help=f"turns of raw and served; default {Plan.rounds}")
    parser.add_argument("--storm-seconds", type=float, help=f"the deadline storm; default {Plan.storm:.0f}")
    parser.add_argument("--seconds", type=float, help=f"the overload; default {Plan.overload:.0f}")
    parser.add_argument("--check", action="store_true", help="end with status 1 where a bar is not met")
    parser.add_argument("--output", type=Path, default=Path("bench/results/serving-cpu.json"))
    return parser


def _plan(arguments: argparse.Namespace) -> Plan:
    given = {"rounds": arguments.rounds, "storm": arguments.storm_seconds, "overload": arguments.seconds}
    if any(value is not None and value <= 0 for value in given.values()):
        raise UserError("rounds and seconds must be above 0")
    plan = QUICK if arguments.quick else Plan()
    return replace(plan, **{name: value for name, value in given.items() if value is not None})


def _write(arguments: argparse.Namespace, plan: Plan, found: dict[str, Measured], judged: dict[str, list[Row]]) -> None:
    variants = {
        name: {
            "bars": [_bar(row) for row in judged[name]],
            "figures": {mode: over_rounds(turns) for mode, turns in measured.turns.items() if turns},
            "not_measured": measured.failures,
        }
        for name, measured in found.items()
    }
    document = {
        "texts": str(arguments.texts),
        "in_flight": IN_FLIGHT,
        "plan": asdict(plan),
        "cores": {"server": SERVER_CORE, "client": CLIENT_CORE},
        "machine": machine(),
        "variants": variants,
    }
    arguments.output.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    plot({name: measured.timelines for name, measured in found.items()}, _plot_path(arguments.output))


def _bar(row: Row) -> dict[str, object]:
    shown: dict[str, object] = {"name": row.name, "figure": row.figure, "bar": row.bar, "comparison": row.comparison}
    return shown | {"met": row.met, "note": row.note}


def _plot_path(output: Path) -> Path:
    return output.with_suffix(".png")


def _show(found: dict[str, Measured], judged: dict[str, list[Row]]) -> int:
    """Prints the tables; returns how many bars are not met."""
    for name, measured in found.items():
        out.print(modes_table(name, {mode: over_rounds(turns) for mode, turns in measured.turns.items() if turns}))
        out.print(bars_table(name, judged[name]))
    return sum(not row.met for table in judged.values() for row in table)


if __name__ == "__main__":
    main()
