"""What runs in a process of its own ends alone."""

import os
from collections.abc import Callable

import pytest

from bertwire_core.errors import UserError
from bertwire_export.apart import run_apart


@pytest.mark.parametrize(
    ("function", "argument", "reason"),
    [(os._exit, 1, "its process died"), (int, "x", "invalid literal for int() with base 10: 'x'")],
)
def test_fault_is_one_line(function: Callable[[object], object], argument: object, reason: str) -> None:
    """A process that dies and a function that raises are told in a line, and what comes after runs."""
    with pytest.raises(UserError) as told:
        run_apart(function, argument)
    assert str(told.value) == reason
    assert run_apart(divmod, 7, 2) == (3, 1)


def test_has_a_process_of_its_own() -> None:
    """Each call has another process, none of which is this one."""
    assert len({run_apart(os.getpid), run_apart(os.getpid), os.getpid()}) == 3
