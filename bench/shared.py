"""Two server processes behind one port against one server with two threads: `python -m bench.shared`.

Both take turns, in reversed order every other round, and share the cores with the client. Prints one JSON object: by
shape of the load and by side the median round's texts a second and milliseconds of a call, and all rounds.
"""

import argparse
import asyncio
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter

from bench.calls import Caller, Calls, request
from bench.figures import Figures, over_rounds, percentiles
from bench.machine import machine
from bench.modes.closed import steady
from bench.processes import started
from bench.texts import read_texts
from bertwire_core.console import err
from bertwire_core.errors import UserError

_SIDES = {"processes": ("--processes", "2"), "threads": ("--threads", "2")}


@dataclass(frozen=True)
class Load:
    """A shape of the load: connections, calls in flight on all of them together, and texts of a call."""

    connections: int
    in_flight: int
    texts_each: int


_LOADS = {
    "one call at a time": Load(1, 1, 1),
    "one large call at a time": Load(1, 1, 32),
    "one connection": Load(1, 64, 1),
    "two connections": Load(2, 64, 1),
    "16 connections": Load(16, 64, 1),
    "16 connections, large calls": Load(16, 16, 32),
}


def main() -> None:
    """Measure all loads on both sides."""
    parser = argparse.ArgumentParser(prog="bench.shared", description=__doc__)
    parser.add_argument("--bundle", type=Path, default=Path("build/demo/vader"))
    parser.add_argument("--texts", type=Path, default=Path("build/demo/test.csv"), help="a table with the column text")
    parser.add_argument("--variant", default="int8")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each load in each round")
    given = parser.parse_args()
    texts = read_texts(given.texts)
    rounds: dict[str, dict[str, list[Figures]]] = {name: {side: [] for side in _SIDES} for name in _LOADS}
    for number in range(given.rounds):
        for side in reversed(_SIDES) if number % 2 else _SIDES:
            command = ["serve", str(given.bundle), "--variant", given.variant, "--provider", "cpu", *_SIDES[side]]
            with started([sys.executable, "-m", "bertwire_cli", *command]) as server:
                for name, load in _LOADS.items():
                    rounds[name][side].append(asyncio.run(_figures(server.address, load, texts, given.seconds)))
            err.print(f"round {number + 1} of {given.rounds}: {side} done", highlight=False)
    medians = {name: {side: over_rounds(each) for side, each in sides.items()} for name, sides in rounds.items()}
    about = {"bundle": str(given.bundle), "variant": given.variant, "seconds": given.seconds}
    loads = {name: asdict(load) for name, load in _LOADS.items()}
    print(json.dumps({**about, "machine": machine(), "loads": loads, "medians": medians, "rounds": rounds}, indent=1))


async def _figures(address: str, load: Load, texts: list[str], seconds: float) -> Figures:
    """Return texts a second, and a call's milliseconds, after a fifth of the time in which nothing is counted."""
    messages = _messages(texts, load.texts_each)
    async with Caller(address, load.connections) as caller:
        await steady(caller, messages, load.in_flight, perf_counter() + seconds / 5, Calls())
        start, calls = perf_counter(), Calls()
        await steady(caller, messages, load.in_flight, start + seconds, calls)
        ended, taken = calls.all(), perf_counter() - start
    return {"texts_per_second": len(ended) * load.texts_each / taken} | percentiles(ended.seconds)


def _messages(texts: list[str], texts_each: int) -> list[bytes]:
    starts = range(0, len(texts) - texts_each + 1, texts_each)
    return [request(texts[start : start + texts_each]).SerializeToString() for start in starts]


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(str(error))
