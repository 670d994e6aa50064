"""What a kept answer costs, timed alone: `python -m bench.cache [--tokens 25]` prints microseconds a text.

A miss is a key made, looked for and put in, with the oldest entries thrown out as in a full cache; a hit is a key made
and found.
"""

import argparse
from collections.abc import Callable
from statistics import median
from time import perf_counter

import numpy as np

from bertwire_core.console import out
from bertwire_runtime.tokenizer import Encoded
from bertwire_server.model.cache import Cache

_TEXTS, _ROUNDS, _LABELS = 20_000, 9, 3


def main() -> None:
    """Time misses and hits."""
    parser = argparse.ArgumentParser(prog="bench.cache", description=__doc__)
    parser.add_argument("--tokens", type=int, default=25, help="tokens of a text")
    tokens = parser.parse_args().tokens
    generator = np.random.default_rng(0)
    ids = generator.integers(30_000, size=(_TEXTS, tokens)).tolist()
    texts = [Encoded(each, [0] * tokens, truncated=False) for each in ids]
    logits = np.zeros((_TEXTS, _LABELS), np.float32)
    # Room for a tenth of them, so that each miss throws another one out.
    cache = Cache(_TEXTS // 10 * 600)

    def miss(place: int) -> None:
        key = cache.key("client", texts[place])
        if cache.get(key) is None:
            cache.put(key, logits[place])

    def hit(place: int) -> None:
        cache.get(cache.key("client", texts[-1 - place % 100]))

    for name, work in (("miss", miss), ("hit", hit)):
        rounds = [_microseconds(work) for _ in range(_ROUNDS)]
        out.print(f"{name}: {median(rounds):.1f} microseconds a text of {tokens} tokens (median of {_ROUNDS} rounds)")


def _microseconds(work: Callable[[int], None]) -> float:
    start = perf_counter()
    for place in range(_TEXTS):
        work(place)
    return 1e6 * (perf_counter() - start) / _TEXTS


if __name__ == "__main__":
    main()
