"""Run a function in a process of its own."""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from bertwire_core.errors import UserError, first_line

Result = TypeVar("Result")


def run_apart(function: Callable[..., Result], *arguments: object) -> Result:
    """Call a function of a module in a new process, which ends with it, and return its result.

    After one error of a CUDA device, such as an illegal address, every later call of the same process fails too.

    Raises:
        UserError: the function raised, or its process died.
    """
    # CUDA does not survive a fork.
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            return pool.submit(function, *arguments).result()
        except BrokenProcessPool:
            raise UserError("its process died") from None
        except Exception as error:  # onnxruntime's exceptions share no public base
            raise UserError(first_line(error)) from error
