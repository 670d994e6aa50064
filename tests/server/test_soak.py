"""The soak in its short form, on a tiny model, and that its verdict can be no."""

from pathlib import Path

import pytest

from bench.soak import Soaked, served, soak

SECONDS = 15


async def test_memory_stays_flat(bundle: Path) -> None:
    """Mixed lengths at full load leave the server's resident memory as it is after the warm-up."""
    with served(bundle, ["--variant", "fp32"]) as (process, address):
        soaked = await soak(process, address, SECONDS)
    assert soaked.passed, soaked.verdict()


@pytest.mark.parametrize(
    ("growth", "calls", "failures", "passed"),
    [
        (0.0, 1, [], True),
        (0.019, 1, [], True),
        (0.03, 1, [], False),
        (0.0, 1, ["UNAVAILABLE"], False),
        (0.0, 0, [], False),
    ],
)
def test_verdict(growth: float, calls: int, failures: list[str], passed: bool) -> None:
    """What grew by 2% after the warm-up, failed a call or answered none has not passed; the warm-up may grow."""
    warm = [100.0 + 10 * number for number in range(20)]
    after = [300.0 * (1 + growth * number / 79) for number in range(80)]
    soaked = Soaked(100, warm + after, calls, calls, failures)
    assert soaked.passed is passed
    assert soaked.verdict().startswith("passed" if passed else "FAILED")
