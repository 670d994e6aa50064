"""Kill a scoring job and its server at random, again and again, and compare the output with an undisturbed run's.

`python -m bench.kills --bundle BUNDLE` makes a table of random words in each format, scores it once in peace by the
bundle's server, and then once more while the job or the server is killed by SIGKILL every few seconds; each time the
same command is given again. With `--in-process` the job has no server, and is killed alone. It fails where the output
of CSV or JSONL has other bytes, or that of Parquet other rows.

A score's last digit can depend on the other texts of its batch (the export's report says of which variant), and the
server makes batches of the calls as they come: there `--variant` decides between the variants.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pyarrow
import pyarrow.parquet

from bench.restarts.ways import free_ports
from bertwire_core.console import out
from bertwire_core.errors import UserError
from bertwire_core.process import readable

# Seconds between kills, at least and at most. With twice as many the job ends before all kills.
_PAUSE = (0.5, 3.0)
_COMMAND = [sys.executable, "-m", "bertwire_cli"]


class _Server:
    """A `bertwire serve` process and, after a kill, the next one.

    Attributes:
        options: of the job, to reach it.
    """

    def __init__(self, bundle: Path, variant: str | None) -> None:
        (port,) = map(str, free_ports(1))
        self.options = ["--server", f"127.0.0.1:{port}"]
        self._command = [*_COMMAND, "serve", str(bundle), "--port", port, "--threads", "1", "--log-level", "error"]
        if variant is not None:
            self._command += ["--variant", variant]
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE)
        assert self._process.stdout is not None  # noqa: S101 - a pipe was asked for
        if b" at " not in self._process.stdout.readline():
            raise UserError("the server did not start")

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


class _Job:
    """A `bertwire score` that is killed, as its server is, and started again.

    Attributes:
        killed: how often each side was.
    """

    def __init__(self, options: list[str], server: _Server | None, generator: random.Random) -> None:
        self.killed: Counter[str] = Counter()
        self._options, self._server, self._generator = options, server, generator

    def run(self, path: Path, output: Path, kills: int) -> None:
        """Score a file, killed so many times at most."""
        left = kills
        while not output.exists():
            process = self._start(path, output)
            while process.poll() is None:
                try:
                    process.wait(self._generator.uniform(*_PAUSE) if left else None)
                except subprocess.TimeoutExpired:
                    left -= 1
                    self._kill(process)
            said = " ".join(_said(output).read_text(encoding="utf-8").strip().splitlines()[-1:])
            # A job without answers that begins while its server is down ends with this; the same command goes on.
            if process.returncode not in (0, -9) and "no server answers" not in said:
                raise UserError(f"bertwire score ended with status {process.returncode}: {said}")

    def _start(self, path: Path, output: Path) -> "subprocess.Popen[bytes]":
        command = [*_COMMAND, "score", str(path), "--output", str(output), *self._options]
        with _said(output).open("wb") as said:
            return subprocess.Popen(command, stderr=said)

    def _kill(self, process: "subprocess.Popen[bytes]") -> None:
        if self._server is not None and self._generator.random() < 0.5:
            self.killed["server"] += 1
            self._server.kill()
            self._server.start()
        else:
            self.killed["job"] += 1
            process.kill()


def _said(output: Path) -> Path:
    """Return the file of what the job that writes `output` says."""
    return output.with_name(f"{output.name}.said")


def main() -> None:
    """Kill, compare and print; exit with 1 where an output differs."""
    arguments = _parser().parse_args()
    with readable("kills"), tempfile.TemporaryDirectory() as folder:
        server = None if arguments.in_process else _Server(arguments.bundle, arguments.variant)
        try:
            same = _compare(arguments, server, Path(folder))
        finally:
            if server is not None:
                server.kill()
    sys.exit(0 if same else 1)


def _compare(arguments: argparse.Namespace, server: _Server | None, folder: Path) -> bool:
    generator = random.Random(arguments.seed)  # noqa: S311 - no secret depends on it
    options = ["--bundle", str(arguments.bundle)] if server is None else server.options
    left, same = arguments.kills, True
    for formats, ending in ((3, ".csv"), (2, ".jsonl"), (1, ".parquet")):
        path, whole, output = (folder / f"{name}{ending}" for name in ("in", "whole", "out"))
        _write_table(path, arguments.rows, generator)
        job = _Job(options, server, generator)
        job.run(path, whole, kills=0)
        job.run(path, output, kills=left // formats)
        left -= job.killed.total()
        equal = _rows(output) == _rows(whole) if ending == ".parquet" else output.read_bytes() == whole.read_bytes()
        same = same and equal
        kills = f"{job.killed['job']} kills of the job, {job.killed['server']} of the server"
        out.print(f"{ending}: {kills}, {'the same' if equal else 'ANOTHER'} output")
    return same


def _write_table(path: Path, rows: int, generator: random.Random) -> None:
    texts = [" ".join(f"w{generator.randrange(60)}" for _ in range(generator.randint(3, 25))) for _ in range(rows)]
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.table({"id": range(rows), "text": texts}), path)
    elif path.suffix == ".csv":
        lines = (f"{index},{text}\n" for index, text in enumerate(texts))
        path.write_text("id,text\n" + "".join(lines), encoding="utf-8")
    else:
        lines = (json.dumps({"id": index, "text": text}) + "\n" for index, text in enumerate(texts))
        path.write_text("".join(lines), encoding="utf-8")


def _rows(path: Path) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = pyarrow.parquet.read_table(path).to_pylist()
    return rows


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench.kills", description=__doc__)
    parser.add_argument("--bundle", type=Path, default=Path("build/demo/vader"))
    parser.add_argument("--variant", help="that the server runs, by name or precision")
    parser.add_argument("--in-process", action="store_true", help="score by the bundle itself")
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    return parser


if __name__ == "__main__":
    main()
