"""Kill a scoring job and its server at random, again and again, and compare the output with an undisturbed run's.

`python -m bench.kills --bundle BUNDLE` makes a table of random words in each format, scores it once in peace by the
bundle's server, and then once more while the job or the server is killed by SIGKILL every few seconds; each time the
same command is given again. It fails where the output of CSV or JSONL has other bytes, or that of Parquet other rows.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pyarrow
import pyarrow.parquet

from bench.restarts.ways import free_ports
from bertwire_core.console import out
from bertwire_core.errors import UserError
from bertwire_core.process import readable

# Seconds between kills, at least and at most. Twice as many need twice the rows, for a job ends before all kills.
_PAUSE = (0.5, 3.0)
_COMMAND = [sys.executable, "-m", "bertwire_cli"]


class _Server:
    """A `bertwire serve` process and, after a kill, the next one."""

    def __init__(self, bundle: Path, port: int) -> None:
        self._command = [*_COMMAND, "serve", str(bundle), "--port", str(port), "--threads", "1", "--log-level", "error"]
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE)
        assert self._process.stdout is not None  # noqa: S101 - a pipe was asked for
        if b" at " not in self._process.stdout.readline():
            raise UserError("the server did not start")

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


def main() -> None:
    """Kill, compare and print; exit with 1 where an output differs."""
    arguments = _parser().parse_args()
    with readable("kills"), tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        (port,) = free_ports(1)
        server = _Server(arguments.bundle, port)
        stack.callback(server.kill)
        same = _compare(arguments, server, port, Path(folder))
    sys.exit(0 if same else 1)


def _compare(arguments: argparse.Namespace, server: _Server, port: int, folder: Path) -> bool:
    generator = random.Random(arguments.seed)  # noqa: S311 - no secret depends on it
    left, same = arguments.kills, True
    formats = (".csv", ".jsonl", ".parquet")
    for number, ending in enumerate(formats):
        path, whole, output = (folder / f"{name}{ending}" for name in ("in", "whole", "out"))
        _table(path, arguments.rows, generator)
        _score(path, whole, port).wait()
        done = _disturbed(path, output, server, port, left // (len(formats) - number), generator)
        left -= done.total()
        equal = _rows(output) == _rows(whole) if ending == ".parquet" else output.read_bytes() == whole.read_bytes()
        same = same and equal
        out.print(
            f"{ending}: {done['job']} kills of the job, {done['server']} of the server: {'same' if equal else 'OTHER'}"
        )
    return same


def _disturbed(
    path: Path, output: Path, server: _Server, port: int, kills: int, generator: random.Random
) -> Counter[str]:
    """Score a file while both sides are killed, and return how often each was."""
    done: Counter[str] = Counter()
    while not output.exists():
        job = _score(path, output, port)
        while job.poll() is None:
            try:
                job.wait(generator.uniform(*_PAUSE) if done.total() < kills else None)
            except subprocess.TimeoutExpired:
                side = generator.choice(["job", "server"])
                done[side] += 1
                if side == "server":
                    server.kill()
                    server.start()
                else:
                    job.kill()
    return done


def _score(path: Path, output: Path, port: int) -> "subprocess.Popen[bytes]":
    options = ["--output", str(output), "--server", f"127.0.0.1:{port}", "--batch-size", "8"]
    return subprocess.Popen([*_COMMAND, "score", str(path), *options], stderr=subprocess.DEVNULL)


def _table(path: Path, rows: int, generator: random.Random) -> None:
    texts = [" ".join(f"w{generator.randrange(60)}" for _ in range(generator.randint(3, 25))) for _ in range(rows)]
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.table({"id": range(rows), "text": texts}), path)
    elif path.suffix == ".csv":
        path.write_text(
            "id,text\n" + "".join(f"{index},{text}\n" for index, text in enumerate(texts)), encoding="utf-8"
        )
    else:
        lines = (json.dumps({"id": index, "text": text}) + "\n" for index, text in enumerate(texts))
        path.write_text("".join(lines), encoding="utf-8")


def _rows(path: Path) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = pyarrow.parquet.read_table(path).to_pylist()
    return rows


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench.kills", description=__doc__)
    parser.add_argument("--bundle", type=Path, default=Path("build/demo/vader"))
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    return parser


if __name__ == "__main__":
    main()
