"""bertwire beside FastAPI, mosec, MLServer and Triton: one text a call, server and client each on a core of its own.

The others load one int8 file of ONNX Runtime's own tools, bertwire its bundle; all have the same checkpoint, texts and
client. Each is there as shipped, and by hand with batches sorted by length and run in fours. Run it with `make peers`.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

from rich.table import Table

from bench.figures import Figures, over_rounds
from bench.machine import machine
from bench.peers.model import PeerModel, make_model
from bench.peers.show import plot
from bench.peers.sides import BERTWIRE, PEERS, Peer, serving
from bench.processes import CLIENT_CORE
from bertwire_core.console import err, out, tracked
from bertwire_core.process import readable

# By server's name and calls in flight, the figures of each round.
Rounds = dict[str, dict[int, list[Figures]]]


def main() -> None:
    """Measure all, print the table and the ratios; write the JSON and the plot."""
    arguments = _parser().parse_args()
    with readable("peers"), tempfile.TemporaryDirectory(prefix="bertwire-peers-") as folder:
        model = make_model(arguments.checkpoint, Path(folder))
        rounds: Rounds = defaultdict(lambda: defaultdict(list))
        chosen = [peer for peer in PEERS if peer is BERTWIRE or peer.package in arguments.packages]
        turns = [peer for number in range(arguments.rounds) for peer in (reversed(chosen) if number % 2 else chosen)]
        for peer in tracked(turns, "servers in turn", len(turns)):
            _turn(arguments, peer, model, rounds)
    figures = {name: {calls: over_rounds(each) for calls, each in of.items()} for name, of in rounds.items()}
    ratios = {calls: _ratios(rounds, calls) for calls in arguments.in_flight}
    document = {
        "texts": arguments.texts.name,
        "most": arguments.most,
        "rounds": arguments.rounds,
        "machine": machine(),
        "figures": figures,
        "ratios": ratios,
    }
    arguments.output.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    plot(figures, max(arguments.in_flight), arguments.output.with_suffix(".png"))
    for calls in arguments.in_flight:
        out.print(_table(figures, calls))
        for name, ratio in ratios[calls].items():
            out.print(f"{name}: {ratio:.2f}", highlight=False)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="peers", description=__doc__)
    parser.add_argument("--checkpoint", type=Path, default=Path("build/demo/checkpoint"))
    parser.add_argument("--bundle", type=Path, default=Path("build/demo/vader"), help="exported from the checkpoint")
    parser.add_argument("--texts", type=Path, default=Path("build/demo/test.csv"), help="table with a column text")
    packages = sorted({peer.package for peer in PEERS if peer.package})
    parser.add_argument("--packages", nargs="+", choices=packages, default=packages)
    parser.add_argument("--in-flight", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--most", type=int, default=1500, help="texts of a measurement; a fifth with one in flight")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path("bench/results/peers-cpu.json"))
    return parser


def _turn(arguments: argparse.Namespace, peer: Peer, model: PeerModel, rounds: Rounds) -> None:
    with serving(peer, arguments.bundle, model) as (pid, port):
        for calls in arguments.in_flight:
            most = arguments.most // 5 if calls == 1 else arguments.most
            command = ["taskset", "--cpu-list", str(CLIENT_CORE), sys.executable, "-m", "bench.peers.client"]
            asked = [peer.protocol, port, pid, arguments.texts, calls, most]
            done = subprocess.run(
                [*command, *map(str, asked)], capture_output=True, text=True, check=False, encoding="utf-8"
            )
            if done.returncode:
                err.print(f"{peer.name}: {done.stderr.strip()[-500:]}", style="red", markup=False)
            else:
                rounds[peer.name][calls].append(json.loads(done.stdout))


def _ratios(rounds: Rounds, calls: int) -> dict[str, float]:
    """Return bertwire over the best of the others, as shipped and by hand, from the median rounds."""
    found: dict[str, float] = {}
    if not rounds[BERTWIRE.name][calls]:
        return found
    own = over_rounds(rounds[BERTWIRE.name][calls])
    for kind, by_hand in (("as shipped", False), ("by hand", True)):
        names = [peer.name for peer in PEERS if peer is not BERTWIRE and peer.by_hand is by_hand]
        others = [over_rounds(rounds[name][calls]) for name in names if rounds[name][calls]]
        if others:
            best = max(each["texts_per_second"] for each in others)
            found[f"texts a second over the best {kind}"] = own["texts_per_second"] / best
            found[f"p99 over the best {kind}"] = own["p99_ms"] / min(each["p99_ms"] for each in others)
    return found


def _table(figures: dict[str, dict[int, Figures]], calls: int) -> Table:
    table = Table("", "texts/s", "p50, ms", "p99, ms", "CPU-ms a text", title=f"{calls} in flight")
    for name, of in figures.items():
        if calls in of:
            each = of[calls]
            keys = ("texts_per_second", "p50_ms", "p99_ms", "cpu_ms_per_text")
            table.add_row(name, *(f"{each[key]:.4g}" for key in keys))
    return table


if __name__ == "__main__":
    main()
