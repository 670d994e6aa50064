"""What a batch and a queue are expected to take."""

import pytest

from bertwire_server.model.cost import Cost


@pytest.fixture
def cost() -> Cost:
    """Has seen runs of 2 ms and a tenth of a millisecond a token."""
    cost = Cost()
    for tokens in (10, 40, 20, 80) * 5:
        cost.add(tokens, 0.002 + 0.0001 * tokens)
    return cost


def test_runs_cost_for_themselves_and_by_the_token(cost: Cost) -> None:
    """The two are told apart."""
    assert cost.expected(100) == pytest.approx(0.012, rel=0.01)
    assert cost.expected(100, runs=4) == pytest.approx(0.018, rel=0.01)
    assert Cost().expected(100) == 0


def test_the_safe_side_is_wider_where_runs_differ(cost: Cost) -> None:
    """By about as much as runs have been away from what was expected of them."""
    steady = cost.seconds(100) - cost.expected(100)
    for _ in range(50):
        for seconds in (0.004, 0.008):
            cost.add(40, seconds)
    assert steady < 0.0005
    assert 0.0015 < cost.seconds(40) - cost.expected(40) < 0.0025


def test_a_queue_takes_what_queues_have_been_taking(cost: Cost) -> None:
    """Where full batches are not what happens; it is forgotten when they are again."""
    assert cost.queue_seconds(1000, 10) == pytest.approx(cost.seconds(1000, 10))
    for _ in range(200):
        cost.add_pace(10, 0.01)
    assert cost.queue_seconds(1000, 10) == pytest.approx(1.0, rel=0.01)
    for _ in range(200):
        cost.add_pace(100, 0.012)
    assert cost.queue_seconds(1000, 10) == pytest.approx(0.12, rel=0.05)


@pytest.mark.parametrize("before", [0, 5, 1000])
def test_one_slow_start_is_no_pace(cost: Cost, before: int) -> None:
    """A short run that waited for the arrival of a thousand texts says little of how long those take."""
    for _ in range(before):
        cost.add_pace(10, 0.003)
    for seconds in (0.1, 2.0):
        cost.add_pace(10, seconds)
        assert cost.queue_seconds(1000, 100) < 4


def test_what_stays_slow_is_believed(cost: Cost) -> None:
    """Within a few runs."""
    for _ in range(5):
        cost.add_pace(10, 0.5)
    assert cost.queue_seconds(1000, 100) > 20


def test_runs_of_one_size_keep_the_parts_apart(cost: Cost) -> None:
    """A model that was asked single texts for long is not thought to take as long for each of many."""
    for _ in range(500):
        cost.add(10, 0.003)
    assert cost.expected(1000) == pytest.approx(0.102, rel=0.02)
    for _ in range(500):
        cost.add(10, 0.006)
    assert cost.expected(1000) == pytest.approx(0.204, rel=0.02)
