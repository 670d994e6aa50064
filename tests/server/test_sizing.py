"""How large a batch is found to pay, with runs whose time the test makes up."""

from collections.abc import Callable, Sequence

import pytest

from bertwire_server.model.queue import BatchLimits
from bertwire_server.model.sizing import efficient_tokens


class Machine:
    """Time passes as batches run."""

    def __init__(self, seconds: Callable[[int], float]) -> None:
        self.now, self.runs, self._seconds = 0.0, list[int](), seconds

    def clock(self) -> float:
        """The time."""
        return self.now

    def run(self, lengths: Sequence[int]) -> None:
        """Takes the time of a batch of so many texts."""
        self.runs.append(len(lengths))
        self.now += self._seconds(len(lengths))


def found(machine: Machine, texts: int = 64, tokens: int = 4096, length: int = 32) -> int:
    """The budget that is found."""
    return efficient_tokens(machine.run, BatchLimits(tokens, texts, 0, 100), length, machine.clock)


@pytest.mark.parametrize(
    ("seconds", "budget"),
    [
        # What a run costs for itself is shared by ever more texts: all that is allowed.
        (lambda texts: 0.005 + 0.001 * texts, 4096),
        # From more than 16 texts on each takes longer.
        (lambda texts: 0.001 * texts + 0.0002 * max(0, texts - 16), 16 * 32),
        # Of sizes that are as good as each other the largest, since there are fewer batches then.
        (lambda texts: 0.001 * texts, 4096),
    ],
)
def test_finds_the_size_that_costs_least_a_text(seconds: Callable[[int], float], budget: int) -> None:
    """Whether larger batches share costs or fall out of the caches."""
    assert found(Machine(seconds)) == budget


def test_does_not_run_what_is_much_worse() -> None:
    """Where a size is far slower, none that is larger is tried; and of slow runs there are few."""
    machine = Machine(lambda texts: 2.0 * texts * texts)
    assert found(machine) == 4 * 32
    assert set(machine.runs) == {4, 8}
    assert len(machine.runs) == 8


def test_one_slow_run_changes_nothing() -> None:
    """A run that was disturbed neither ends the search nor makes its size look bad."""
    runs = 0

    def seconds(texts: int) -> float:
        nonlocal runs
        runs += 1
        return (0.001 * texts + 0.0002 * max(0, texts - 16)) * (10 if runs % 3 == 0 else 1)

    assert found(Machine(seconds)) == 16 * 32


@pytest.mark.parametrize(("texts", "tokens", "length"), [(1, 4096, 32), (64, 16, 32), (64, 40, 32), (3, 4096, 32)])
def test_stays_within_the_limits(texts: int, tokens: int, length: int) -> None:
    """No batch is run that the limits forbid; where they leave no choice they stay."""
    machine = Machine(lambda texts: 0.001 * texts)
    assert found(machine, texts, tokens, length) == tokens
    assert max(machine.runs, default=0) <= max(min(texts, tokens // length), 0)
