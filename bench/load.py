"""A closed-loop client: a fixed number of calls in flight, one text each. A process of its own.

`python -m bench.load ADDRESS TEXTS CALLS_IN_FLIGHT` sends every text once and prints one JSON object.
"""

import asyncio
import json
import sys
import time
from pathlib import Path

import numpy as np

from bench.texts import read_texts
from bertwire_client import AsyncClient


async def load(address: str, texts: list[str], in_flight: int) -> dict[str, float]:
    """Texts a second, and the percentiles of a call's time in milliseconds as the client saw it."""
    seconds: list[float] = []
    waiting = iter(texts)

    async def work(client: AsyncClient) -> None:
        for text in waiting:
            start = time.perf_counter()
            await client.classify([text], top_k=1, timeout=60)
            seconds.append(time.perf_counter() - start)

    async with AsyncClient(address) as client:
        start = time.perf_counter()
        await asyncio.gather(*(work(client) for _ in range(in_flight)))
        elapsed = time.perf_counter() - start
    p50, p95, p99 = np.percentile(np.array(seconds) * 1e3, [50, 95, 99])
    return {"texts": len(texts), "texts_per_second": len(texts) / elapsed, "p50_ms": p50, "p95_ms": p95, "p99_ms": p99}


if __name__ == "__main__":
    address_argument, texts_argument, in_flight_argument = sys.argv[1:]
    texts_given = read_texts(Path(texts_argument))
    print(json.dumps(asyncio.run(load(address_argument, texts_given, int(in_flight_argument)))))
