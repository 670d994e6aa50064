"""Two servers, restarted in turn under load, behind nginx, behind HAProxy and by client-side round_robin.

`python -m bench.restarts` takes a quarter of an hour for 20 restarts each way. It fails where more than one of 10,000
calls without retries fails, one with gRPC's retries, or where a message of a stream is lost or answered twice.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from rich.table import Table

from bench.machine import machine
from bench.restarts.load import Found, Rates
from bench.restarts.run import restarted
from bench.restarts.ways import WAYS, is_here
from bench.texts import read_texts
from bertwire_core.console import err, out
from bertwire_core.errors import UserError
from bertwire_core.process import readable

MOST_FAILED = 1e-4


def main() -> None:
    """Measures each way; prints the table, and writes the JSON after each."""
    arguments = _parser().parse_args()
    found: dict[str, Found] = {}
    with readable("restarts"):
        for way in arguments.ways:
            if not is_here(way):
                raise UserError(f"{way} is not installed here (Debian: nginx-light, haproxy)")
            err.print(f"{way}: {arguments.restarts} restarts")
            found |= _measure(arguments, way)
            _write(arguments, found)
    out.print(_table(found))
    out.print(f"written to {arguments.output}")
    sys.exit(0 if all(map(met, found.values())) else 1)


def _measure(arguments: argparse.Namespace, way: str) -> dict[str, Found]:
    with tempfile.TemporaryDirectory() as folder:
        measured = restarted(
            arguments.bundle,
            [way],
            read_texts(arguments.texts),
            Path(folder),
            restarts=arguments.restarts,
            rates=Rates(),
            options=["--variant", arguments.variant],
        )
        return asyncio.run(measured)


def _write(arguments: argparse.Namespace, found: dict[str, Found]) -> None:
    document = {
        "bundle": str(arguments.bundle),
        "variant": arguments.variant,
        "restarts": arguments.restarts,
        "rates": asdict(Rates()),
        "machine": machine(),
        "ways": {way: vars(each) | {"met": met(each)} for way, each in found.items()},
    }
    arguments.output.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def met(found: Found) -> bool:
    """Whether nobody noticed; see above."""
    failed = found.plain.total() - found.plain["OK"]
    others = (found.retried.total() - found.retried["OK"], found.messages.total() - found.messages["OK"])
    return failed <= MOST_FAILED * found.plain.total() and others == (0, 0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench.restarts", description=__doc__)
    parser.add_argument("--bundle", type=Path, default=Path("build/demo/vader"))
    parser.add_argument("--texts", type=Path, default=Path("build/demo/test.csv"), help="table with a column text")
    parser.add_argument("--variant", default="int8", help="by name or precision")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    parser.add_argument("--restarts", type=int, default=20)
    parser.add_argument("--output", type=Path, default=Path("bench/results/restarts.json"))
    return parser


def _table(found: dict[str, Found]) -> Table:
    table = Table("way", "calls without retries", "with gRPC's", "messages of a stream", "bar")
    for way, each in found.items():
        cells = [_counts(counter) for counter in (each.plain, each.retried, each.messages)]
        table.add_row(way, *cells, "met" if met(each) else "not met")
    return table


def _counts(counter: dict[str, int]) -> str:
    return ", ".join(f"{count} {status}" for status, count in sorted(counter.items()))


if __name__ == "__main__":
    main()
