"""Which batches warm a model up."""

import pytest

from bertwire_server.model.warmup import BatchLimits, warm_up_shapes


def shapes(texts: int, tokens: int, max_length: int) -> list[list[int]]:
    """The shapes for these limits."""
    return warm_up_shapes(BatchLimits(texts=texts, tokens=tokens, seconds=1.0), max_length)


def test_covers_what_the_budget_allows() -> None:
    """One short, one long, both, the most texts, all lengths between, and the most tokens."""
    found = shapes(32, 4096, 512)
    assert found == [[3], [512], [3] * 32, [3, 75, 148, 221, 293, 366, 439, 512], [512] * 8, [3, 512]]


@pytest.mark.parametrize("texts", [1, 2, 7, 32])
@pytest.mark.parametrize("tokens", [1, 100, 512, 4096, 100_000])
@pytest.mark.parametrize("max_length", [3, 4, 128, 512])
def test_stays_within_the_budget(texts: int, tokens: int, max_length: int) -> None:
    """No batch is one that the scheduler would not form, padded or not; none comes twice; the smallest is first."""
    found = shapes(texts, tokens, max_length)
    assert found[0] == [3]
    assert [max_length] in found
    assert len({tuple(each) for each in found}) == len(found)
    for each in found:
        assert len(each) <= texts
        assert min(each) >= 3
        assert max(each) <= max_length
        assert len(each) == 1 or len(each) * max(each) <= tokens
