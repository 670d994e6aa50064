"""Whether a server's memory stays flat: mixed lengths at full load, resident memory every second.

`make soak` runs it for 10 minutes on the demo's model, `make soak SECONDS=60` shorter. It fails where resident memory
grows by 2% or more after the warm-up, or where a call fails. The samples go to build/soak/soak.json.
"""

import argparse
import asyncio
import json
import random
import string
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

import psutil

from bench.machine import machine
from bench.processes import started
from bertwire_client import AsyncClient
from bertwire_client.errors import RequestError
from bertwire_core.console import out, progress
from bertwire_core.errors import UserError
from bertwire_core.process import readable

IN_FLIGHT = 64
LIMIT = 0.02  # of growth
# Of the time: the warm-up, and after it the part at its beginning and at its end that are compared.
WARM_SHARE, COMPARED_SHARE = 0.2, 0.1
LONGEST_WORDS = 600  # past the token limit of every BERT
MOST_TEXTS = 16


@dataclass(slots=True)
class Soaked:
    """The result of a run.

    Attributes:
        seconds: how long it was meant to run.
        mib: resident memory of the server at about each second, in MiB.
        calls: calls that were answered.
        texts: texts in them.
        failures: what the others failed with.
    """

    seconds: float
    mib: list[float] = field(default_factory=list)
    calls: int = 0
    texts: int = 0
    failures: list[str] = field(default_factory=list)

    def compared(self) -> tuple[float, float]:
        """Return the median resident memory, in MiB, just after the warm-up and at the end."""
        warm, part = round(len(self.mib) * WARM_SHARE), max(1, round(len(self.mib) * COMPARED_SHARE))
        return median(self.mib[warm : warm + part]), median(self.mib[-part:])

    @property
    def passed(self) -> bool:
        """Whether memory stayed flat and every call was answered."""
        begin, end = self.compared()
        return end / begin - 1 < LIMIT and not self.failures and self.calls > 0

    def verdict(self) -> str:
        """Return the result in one line."""
        begin, end = self.compared()
        failed = f", {len(self.failures)} failed, the first with {self.failures[0]}" if self.failures else ""
        return (
            f"{'passed' if self.passed else 'FAILED'}: resident memory {begin:.1f} MiB after the warm-up, "
            f"{end:.1f} MiB at the end, {end / begin - 1:+.2%} (limit {LIMIT:.0%}); "
            f"{self.calls} calls, {self.texts} texts{failed}"
        )


def main() -> None:
    """Run the soak, print the verdict and write the samples."""
    parser = argparse.ArgumentParser(prog="bench.soak", description=__doc__)
    parser.add_argument("--bundle", type=Path, default=Path("build/demo/vader"))
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--output", type=Path, default=Path("build/soak/soak.json"))
    arguments = parser.parse_args()
    with readable("soak"):
        if not arguments.bundle.is_dir():
            raise UserError(f"{arguments.bundle} is missing; make demo makes it")
        with served(arguments.bundle) as (process, address):
            soaked = asyncio.run(soak(process, address, arguments.seconds))
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        document = {"machine": machine(), "verdict": soaked.verdict(), **asdict(soaked)}
        arguments.output.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        out.print(f"{soaked.verdict()}; written to {arguments.output}", soft_wrap=True, highlight=False)
    sys.exit(0 if soaked.passed else 1)


@contextmanager
def served(bundle: Path, options: Sequence[str] = ()) -> Iterator[tuple[psutil.Process, str]]:
    """Run a server until the end of the block; yield its process and its address."""
    command = [sys.executable, "-m", "bertwire_cli", "serve", str(bundle), "--log-level", "warning", *options]
    with started(command) as server:
        yield psutil.Process(server.pid), server.address


async def soak(process: psutil.Process, address: str, seconds: float) -> Soaked:
    """Keep 64 calls in flight for `seconds`, and sample the server's memory every second."""
    soaked = Soaked(seconds)
    end = time.monotonic() + seconds
    async with AsyncClient(address) as client:
        calling = [asyncio.create_task(_call(client, soaked, end, seed)) for seed in range(IN_FLIGHT)]
        with progress("soaking", seconds) as bar:
            while (left := end - time.monotonic()) > 0:
                await asyncio.sleep(min(1.0, left))
                soaked.mib.append(process.memory_info().rss / 2**20)
                bar(seconds - max(left - 1, 0), f"{soaked.mib[-1]:.0f} MiB")
        await asyncio.gather(*calling)
    return soaked


async def _call(client: AsyncClient, soaked: Soaked, end: float, seed: int) -> None:
    generator = random.Random(seed)  # noqa: S311 - test data
    while time.monotonic() < end:
        texts = [_text(generator) for _ in range(1 if generator.random() < 0.8 else generator.randint(2, MOST_TEXTS))]
        try:
            await client.classify(texts, top_k=1, timeout=120)
        except RequestError as error:
            soaked.failures.append(str(error))
            continue
        soaked.calls += 1
        soaked.texts += len(texts)


def _text(generator: random.Random) -> str:
    """Words of random letters, so that no cache of words helps; mostly few, sometimes hundreds."""
    words = min(LONGEST_WORDS, 1 + int(generator.paretovariate(0.8)))
    return " ".join("".join(generator.choices(string.ascii_lowercase, k=generator.randint(1, 7))) for _ in range(words))


if __name__ == "__main__":
    main()
