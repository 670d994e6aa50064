"""How busy a model keeps its device: a device that sleeps in place of one that computes.

`python -m bench.busy --bundle BUNDLE [--tokens-per-second 2e6] [--in-flight 4096] [--texts-each 1]` serves a bundle's
texts through `Model`, without gRPC, on a device that takes a fixed time a token; prints texts a second and the share of
the time that the device ran. What is missing to 1 is what the event loop and the tokenizer keep it waiting for.
"""

import argparse
import asyncio
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter, sleep

import numpy as np

from bench.texts import read_texts
from bertwire_core.console import out
from bertwire_runtime.bundle import open_bundle
from bertwire_runtime.output import Floats
from bertwire_runtime.predictor import Predictor
from bertwire_runtime.tokenizer import Encoded
from bertwire_server.model.model import Model, Serving
from bertwire_server.query import Query


class Sleeping(Predictor):
    """Answers zeros after a time for each token, as if on CUDA."""

    def __init__(self, bundle: Path, tokens_per_second: float) -> None:
        super().__init__(open_bundle(bundle), None, "cpu", 1)
        self._seconds = 1 / tokens_per_second
        self.engine.provider = "cuda"

    def logits(self, encoded: Sequence[Encoded]) -> list[Floats]:
        """Sleep for the batch."""
        sleep(sum(len(text.ids) for text in encoded) * self._seconds)
        return list(np.zeros((len(encoded), len(self.manifest.labels)), np.float32))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench.busy", description=__doc__)
    parser.add_argument("--bundle", type=Path, default=Path("build/demo/vader"))
    parser.add_argument("--texts", type=Path, default=Path("build/demo/test.csv"), help="table with a column text")
    parser.add_argument("--tokens-per-second", type=float, default=2e6)
    parser.add_argument("--in-flight", type=int, default=4096, help="texts")
    parser.add_argument("--texts-each", type=int, default=1, help="texts of a query")
    parser.add_argument("--seconds", type=float, default=5.0)
    arguments = parser.parse_args()
    texts = read_texts(arguments.texts)
    rate, busy = asyncio.run(_measure(arguments, texts))
    out.print(f"{rate:.0f} texts/s, the device busy {busy:.0%} of the time")


async def _measure(arguments: argparse.Namespace, texts: list[str]) -> tuple[float, float]:
    model = Model(Sleeping(arguments.bundle, arguments.tokens_per_second), Serving())
    await asyncio.to_thread(model.warm_up)
    model.start()
    each = arguments.texts_each
    queries = [Query(texts[start : start + each]) for start in range(0, len(texts) - each + 1, each)]
    start, before = perf_counter(), model.busy_seconds
    end, done = start + arguments.seconds, 0

    async def caller(place: int) -> None:
        nonlocal done
        while perf_counter() < end:
            place = (place + 1) % len(queries)
            answered = await model.predict(queries[place])
            done += len(answered)

    await asyncio.gather(*(caller(place) for place in range(max(1, arguments.in_flight // each))))
    seconds, busy = perf_counter() - start, model.busy_seconds - before
    await model.stop()
    return done / seconds, busy / seconds


if __name__ == "__main__":
    main()
