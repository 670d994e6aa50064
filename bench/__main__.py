"""Server against raw ONNX Runtime, in one run: same graph, one thread, the server on one core, the client on another.

Rounds interleave what is compared, so that a slow minute of the machine falls on all of it. CPU time is the process's
own, all threads. Run it with `make bench`.
"""

import argparse
import json
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean

import psutil
from rich.table import Table

from bench.machine import machine
from bertwire_client.cli import readable
from bertwire_client.console import out, tracked
from bertwire_client.errors import UserError

IN_FLIGHT = 64
# The server and raw ONNX Runtime take turns on the first core; the client has the second.
SERVER_CORE, CLIENT_CORE = ["taskset", "--cpu-list", "0"], ["taskset", "--cpu-list", "1"]

Figures = dict[str, float]


def main() -> None:
    """Measures every variant of the bundle and writes the table and the JSON."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--bundle", type=Path, default=Path("build/demo/vader"))
    parser.add_argument("--texts", type=Path, default=Path("build/demo/test.csv"), help="CSV with a column text")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path("bench/results/serving-cpu.json"))
    arguments = parser.parse_args()
    with readable("bench"):
        if not (arguments.bundle.is_dir() and arguments.texts.is_file()):
            raise UserError(f"{arguments.bundle} or {arguments.texts} is missing; make demo makes both")
        results = {name: _measure(name, arguments) for name in ("int8", "fp32")}
        document = {"texts": str(arguments.texts), "in_flight": IN_FLIGHT, "machine": machine(), "variants": results}
        arguments.output.write_text(json.dumps(document, indent=2) + "\n")
        for name, rows in results.items():
            out.print(_table(name, rows))
        out.print(f"written to {arguments.output}")


def _measure(variant: str, arguments: argparse.Namespace) -> dict[str, Figures]:
    """The mean figures of raw ONNX Runtime in both orders and of the server."""
    found: dict[str, list[Figures]] = defaultdict(list)
    with _server(arguments.bundle, variant, found) as (server, address):
        _load(address, arguments.texts)  # warms up connections and memory
        for _ in tracked(range(arguments.rounds), f"{variant}: raw and served in turn", arguments.rounds):
            for order in ("arrival", "sorted"):
                command = ["bench.raw", arguments.bundle, variant, arguments.texts, order]
                found[f"raw, {order} order"].append(_child(SERVER_CORE, command))
            before = _cpu_ms(server)
            served = _load(address, arguments.texts)
            cpu_ms = (_cpu_ms(server) - before) / served.pop("texts")
            found["served"].append(served | {"cpu_ms_per_text": cpu_ms})
    means = {name: {key: fmean(each[key] for each in rows) for key in rows[0]} for name, rows in found.items()}
    means["served"] |= means.pop("shutdown")
    means["served"]["raw_over_served"] = (
        means["raw, arrival order"]["cpu_ms_per_text"] / means["served"]["cpu_ms_per_text"]
    )
    return means


@contextmanager
def _server(bundle: Path, variant: str, found: dict[str, list[Figures]]) -> Iterator[tuple[psutil.Process, str]]:
    """A server on its core; what it says of padding when it stops goes into `found`."""
    command = [*SERVER_CORE, sys.executable, "-m", "bertwire_client", "serve", str(bundle), "--port", "0"]
    options = ["--variant", variant, "--threads", "1", "--provider", "cpu"]
    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None  # noqa: S101 - PIPE was asked for
            ready = re.search(r" at (\S+)$", process.stdout.readline())
            if ready is None:
                raise UserError("the server did not start")
            yield psutil.Process(process.pid), ready[1]
            process.terminate()
            log = process.communicate(timeout=60)[1]
        finally:
            process.kill()
    padding = re.search(r"padding share ([\d.]+)", log)
    if padding is None:
        raise UserError(f"the server did not end well: {log}")
    found["shutdown"].append({"padding": float(padding[1])})


def _load(address: str, texts: Path) -> Figures:
    return _child(CLIENT_CORE, ["bench.load", address, texts, IN_FLIGHT])


def _child(core: list[str], command: list[object]) -> Figures:
    done = subprocess.run(
        [*core, sys.executable, "-m", *map(str, command)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        reason = done.stderr.strip().rpartition("\n")[2] or f"exit status {done.returncode}"
        raise UserError(f"{command[0]} failed: {reason}")
    figures: Figures = json.loads(done.stdout)
    return figures


def _cpu_ms(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(1e3 * (times.user + times.system))


def _table(variant: str, rows: dict[str, Figures]) -> Table:
    columns = {
        "cpu_ms_per_text": ("CPU-ms", "{:.2f}"),
        "raw_over_served": ("ratio", "{:.2f}"),
        "padding": ("padding", "{:.0%}"),
        "texts_per_second": ("texts/s", "{:.0f}"),
        "p50_ms": ("p50", "{:.0f}"),
        "p95_ms": ("p95", "{:.0f}"),
        "p99_ms": ("p99", "{:.0f}"),
    }
    title = f"{variant}: CPU-milliseconds a text; ratio, raw in arrival order over served; latency in ms"
    table = Table("", *(name for name, _ in columns.values()), title=title)
    for name, figures in rows.items():
        cells = (form.format(figures[key]) if key in figures else "" for key, (_, form) in columns.items())
        table.add_row(name, *cells)
    return table


if __name__ == "__main__":
    main()
