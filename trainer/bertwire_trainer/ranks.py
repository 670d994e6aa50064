"""Training in several processes, as torchrun or accelerate starts them: one for each GPU, or on CPUs.

Every process reads the rows and trains; the first alone prints, measures dev, and writes.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TypeVar

from bertwire_core.console import silenced
from bertwire_core.errors import UserError

T = TypeVar("T")


def rank() -> int:
    """Return the number of this process, from 0 on."""
    return int(os.environ.get("RANK", "0"))


def count() -> int:
    """Return the number of processes."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    """Return whether this process is the first, which prints and writes."""
    return rank() == 0


def only_first_speaks() -> AbstractContextManager[None]:
    """Keep the other processes from printing in the block."""
    return nullcontext() if is_first() else silenced()


@contextmanager
def joined() -> Iterator[None]:
    """Connect the processes for the block."""
    if count() == 1:
        yield
        return
    import torch
    from accelerate import PartialState

    state = PartialState(cpu=not torch.cuda.is_available())
    try:
        yield
    finally:
        state.destroy_process_group()


def wait() -> None:
    """Wait until every process has come here."""
    if count() > 1:
        import torch.distributed

        torch.distributed.barrier()


def from_first(make: Callable[[], T]) -> T:
    """Return to every process what `make` returns in the first one, or raise there what it raises.

    The result goes through pickle.
    """
    if count() == 1:
        return make()
    import torch.distributed

    box: list[T | Exception | None] = [None]
    if is_first():
        try:
            box[0] = make()
        except Exception as error:
            box[0] = error
    torch.distributed.broadcast_object_list(box, src=0)
    if isinstance(box[0], Exception):
        raise box[0]
    return box[0]  # type: ignore[return-value]  # what make returned


def require_one(what: str) -> None:
    """Raise `UserError` where there are several processes."""
    if count() > 1:
        raise UserError(f"{what} trains in one process; start bertwire without torchrun")
