"""The client processes."""

import multiprocessing
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from typing import Self, TypeVar

from bertwire_core.console import progress
from bertwire_core.errors import UserError
from bertwire_load.config import LoadConfig
from bertwire_load.tally import Part
from bertwire_load.worker import Failed, Job, Load, Progress, Ready, Stop, work

T = TypeVar("T")

# Seconds from the order to measure until calls are due: with half of them a slow machine's processes begin late.
_LEAD_SECONDS = 0.1
# Seconds until processes that were told to end are killed.
_END_SECONDS = 5.0


class Interrupted(KeyboardInterrupt):
    """Ctrl-C in a measurement; `parts` has what was measured until then."""

    def __init__(self, parts: list[Part]) -> None:
        super().__init__()
        self.parts = parts


class Processes:
    """Client processes that measure together.

    Args:
        config: the settings.
        texts: recorded texts; None: synthetic ones.
    """

    def __init__(self, config: LoadConfig, texts: Sequence[str] | None) -> None:
        self._config = config
        self._connections: list[Connection] = []
        self._ready = False
        # Not fork: gRPC does not survive it.
        context = multiprocessing.get_context("spawn")
        self._processes = []
        for place in range(config.processes):
            ours, theirs = context.Pipe()
            self._connections.append(ours)
            process = context.Process(target=work, args=(theirs, config, texts, place), daemon=True)
            self._processes.append((process, theirs))

    def __enter__(self) -> Self:
        try:
            with _uninterrupted():
                for process, theirs in self._processes:
                    process.start()
                    theirs.close()
            self._receive(Ready, {}, lambda _: None)
            self._ready = True
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        for connection in self._connections:
            connection.close()
        # One that waits for a server's first answer would not end before its time.
        until = time.monotonic() + (_END_SECONDS if self._ready else 0.0)
        for process, _ in self._processes:
            if process.pid is not None:
                process.join(max(until - time.monotonic(), 0.0))
                process.kill()
                process.join()

    def measure(self, server: int, load: Load, turn: int, title: str) -> list[Part]:
        """Return what each process measured; raise `Interrupted` with what there is at Ctrl-C.

        Args:
            server: the number of the server's address.
            load: the load.
            turn: see `Job`.
            title: of the progress.
        """
        seconds = self._config.warmup + self._config.duration
        start = time.monotonic() + _LEAD_SECONDS
        with progress(title, seconds) as bar:
            self._send(Job(server, load, start, turn))
            parts: dict[Connection, Part] = {}
            try:
                self._receive(Part, parts, lambda note: bar(min(time.monotonic() - start, seconds), note))
            except KeyboardInterrupt:
                self._send(Stop())
                self._receive(Part, parts, lambda _: None)
                raise Interrupted([*parts.values()]) from None
        return [*parts.values()]

    def _send(self, message: Job | Stop) -> None:
        for connection in self._connections:
            connection.send(message)

    def _receive(self, kind: type[T], found: dict[Connection, T], show: Callable[[str], None]) -> None:
        """Add to `found` a message of a kind of each process that it lacks."""
        counts: dict[Connection, Progress] = {}
        while missing := [each for each in self._connections if each not in found]:
            for each in wait(missing):
                assert isinstance(each, Connection)  # noqa: S101 - nothing else was waited for
                message = _received(each)
                if isinstance(message, Progress):
                    counts[each] = message
                elif isinstance(message, kind):
                    found[each] = message
            answered = sum(each.answered for each in counts.values())
            show(f"{answered:,} answered, {sum(each.failed for each in counts.values()):,} failed")


def _received(connection: Connection) -> object:
    try:
        message = connection.recv()
    except EOFError:
        raise UserError("a client process was ended, perhaps for want of memory; use fewer --processes") from None
    if isinstance(message, Failed):
        raise UserError(message.reason)
    return message


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Have processes that start within the block ignore Ctrl-C, which a terminal sends them too."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
