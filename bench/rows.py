"""Peak memory of `bertwire score` over ever more rows, by a bundle in its process.

`python -m bench.rows --bundle BUNDLE` makes a CSV file of distinct random texts for each number of rows, scores it, and
prints the process's peak resident memory, and by how much it grows with the rows. Take a tiny model: memory by rows is
the job's own, and a large model only takes longer.
"""

import argparse
import os
import random
import sys
import tempfile
import time
from pathlib import Path

from rich.table import Table

from bertwire_core.console import out
from bertwire_core.errors import UserError
from bertwire_core.process import readable

# Words of a text; half as many still make millions of texts distinct.
_WORDS = 8


def main() -> None:
    """Score each number of rows and print the table."""
    parser = argparse.ArgumentParser(prog="bench.rows", description=__doc__)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 200_000, 400_000])
    arguments = parser.parse_args()
    with readable("rows"):
        table = Table("rows", "MB at the peak", "s", "bytes a row more", title="bertwire score --bundle")
        before: tuple[int, int] | None = None
        for rows in arguments.rows:
            peak, seconds = _peak(arguments.bundle, rows)
            slope = "" if before is None else f"{(peak - before[1]) / (rows - before[0]):.1f}"
            table.add_row(f"{rows:,}", f"{peak / 1e6:.1f}", f"{seconds:.1f}", slope)
            before = rows, peak
        out.print(table)


def _peak(bundle: Path, rows: int) -> tuple[int, float]:
    """Return the peak resident bytes of a job over so many rows, and its seconds."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "in.csv")
        _write(path, rows)
        command = [sys.executable, "-m", "bertwire_cli", "score", str(path), "--bundle", str(bundle)]
        command += ["--output", str(Path(folder, "out.csv"))]
        started = time.perf_counter()
        process = os.posix_spawn(sys.executable, command, os.environ)
        _, status, usage = os.wait4(process, 0)
        if status:
            raise UserError(f"bertwire score ended with status {status}")
        return usage.ru_maxrss * 1024, time.perf_counter() - started


def _write(path: Path, rows: int) -> None:
    generator = random.Random(0)  # noqa: S311 - no secret depends on it
    with path.open("w", encoding="utf-8") as file:
        file.write("id,text\n")
        for index in range(rows):
            words = " ".join(f"w{generator.randrange(60)}" for _ in range(_WORDS))
            file.write(f"{index},{words} {index}\n")


if __name__ == "__main__":
    main()
