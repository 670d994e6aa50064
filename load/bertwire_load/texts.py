"""The texts that are sent: recorded ones in their order, or synthetic ones by a distribution of lengths."""

import math
import random
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle, islice

# Gives the number of words of one text.
Lengths = Callable[[random.Random], int]

# Common English words, most of which are one token of every vocabulary, so that words count as tokens.
_COMMON = (
    "the of and to in a is that for it was on with as be at by this had not are but from or have an they which "
    "one you were all her she there would their we him been has when who will no more if out so up said what its "
    "about than into them can only other time new some could these two may first then do any like my now over "
    "such our man me even most made after also did many off before must well back through years where much your "
    "way down should because long each just state those people too mister how little good world make very year "
    "still see own work men day get here old "
)
_WORDS = _COMMON.split()
_FORMS = "give a number, lognormal:MEDIAN,SIGMA or quantiles:MIN,...,MAX"


def parse_lengths(text: str) -> Lengths:
    """Return the distribution that `--words` describes; raise `ValueError` where it describes none.

    A number is the length of all texts; `lognormal` has the median in words and the standard deviation of the
    logarithm; `quantiles` has at least two evenly spaced ones, the least and the greatest length included, between
    which lengths are interpolated.
    """
    kind, _, rest = text.partition(":") if ":" in text else ("fixed", "", text)
    if not re.fullmatch(r"\d+(\.\d+)?(,\d+(\.\d+)?)*", rest):
        raise ValueError(f"{text!r} is no distribution of lengths; {_FORMS}")
    numbers = [float(each) for each in rest.split(",")]
    if kind == "fixed" and len(numbers) == 1 and numbers[0] >= 1:
        return lambda _: int(numbers[0])
    if kind == "lognormal" and len(numbers) == 2 and numbers[0] >= 1:
        return lambda generator: _whole(generator.lognormvariate(math.log(numbers[0]), numbers[1]))
    if kind == "quantiles" and len(numbers) > 1 and numbers[0] >= 1 and numbers == sorted(numbers):
        return lambda generator: _whole(_interpolated(numbers, generator.random()))
    raise ValueError(f"{text!r} is no distribution of lengths of at least one word; {_FORMS}")


def _whole(words: float) -> int:
    return max(round(words), 1)


def _interpolated(quantiles: Sequence[float], share: float) -> float:
    place = share * (len(quantiles) - 1)
    low = int(place)
    return quantiles[low] + (quantiles[low + 1] - quantiles[low]) * (place - low)


def synthetic(lengths: Lengths, generator: random.Random) -> Iterator[str]:
    """Yield texts of common words without end; hardly any comes twice."""
    while True:
        yield " ".join(generator.choices(_WORDS, k=lengths(generator)))


def recorded(texts: Sequence[str], share: float) -> Iterator[str]:
    """Yield texts in their order without end, from the text after the first `share` of them on."""
    first = int(len(texts) * share)
    return islice(cycle(texts), first, None)
