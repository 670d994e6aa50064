"""One of several server processes, started by `worker.py`: `python -m bertwire_server.processes.child`."""

import asyncio
import json
import os
import select
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TextIO

from bertwire_server.host import Host, leave

if TYPE_CHECKING:
    from bertwire_server.config import ServerConfig

# Bytes of the longest line from the parent; halved twice more, settings with hundreds of long options are cut off.
_LINE_BYTES = 1 << 20
# Seconds between two beats. Doubled to the parent's limit of silence, a process that serves counts as hung.
_BEAT_SECONDS = 1.0


class Child(Host):
    """Runs a server that the parent starts and stops; tells it how the server is."""

    def __init__(self, parent: TextIO) -> None:
        self._parent = parent
        self._stops = asyncio.Event(), asyncio.Event()

    def stops(self) -> tuple[asyncio.Event, asyncio.Event]:
        """Return the events set by the parent's first and second order to stop."""
        return self._stops

    def stop(self) -> None:
        """Take an order to stop."""
        first, second = self._stops
        (second if first.is_set() else first).set()

    def orphaned(self) -> None:
        """Drain, where no order to stop came before the parent went."""
        self._stops[0].set()

    def beat(self) -> None:
        """Tell that the event loop runs."""
        # Left out where the parent does not read, since a full pipe would block.
        if select.select((), (self._parent,), (), 0)[1]:
            self._tell()

    def metrics_at(self, port: int | None) -> None:
        """Tell the port of the metrics."""
        self._tell(metrics_port=port)

    def serving(self, serving: bool) -> None:
        """Tell whether health is SERVING."""
        self._tell(serving=serving)

    def ready(self, line: str) -> None:
        """Tell that the server listens."""
        self._tell(ready=line)

    def failed(self, reason: str) -> None:
        """Tell why the server ends."""
        self._tell(failed=reason)

    def _tell(self, **state: object) -> None:
        # Where the parent has gone, the server drains: nobody is left to tell.
        with suppress(OSError):
            print(json.dumps(state), file=self._parent, flush=True)


def main() -> None:
    """Run a server by the settings on standard input, until told to stop there or the parent has gone."""
    # The parent passes them on; a service manager that sends them to all processes would count twice.
    for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    # A line that a library prints is none for the parent.
    parent = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    leave(asyncio.run(_run(parent)))


async def _run(parent: TextIO) -> int:
    orders = asyncio.StreamReader(_LINE_BYTES)
    child = Child(parent)
    # At once, since the imports of `_serve` block the loop: the parent learns that signals cannot end the process.
    child.beat()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    if not (line := await orders.readline()):
        return 0
    given = json.loads(line)
    os.sched_setaffinity(0, given["cores"])
    beside = [asyncio.create_task(each) for each in (_listen(orders, child), _beat(child))]
    try:
        return await _serve(child, given)
    finally:
        for task in beside:
            task.cancel()


async def _listen(orders: asyncio.StreamReader, child: Child) -> None:
    """Take each line as an order to stop, and the end of the parent as the first one."""
    while await orders.readline():
        child.stop()
    child.orphaned()


async def _beat(child: Child) -> None:
    while True:
        await asyncio.sleep(_BEAT_SECONDS)
        child.beat()


async def _serve(child: Child, given: dict[str, Any]) -> int:
    # Only after the choice of cores, which the threads of these packages inherit.
    from bertwire_core.commands import COMMANDS
    from bertwire_core.errors import UserError
    from bertwire_core.faults import FAILED, report

    try:
        from bertwire_server.app import serve
        from bertwire_server.config import ServerConfig
        from bertwire_server.telemetry.logs import configure

        config = ServerConfig(**given["settings"])
        configure(config.log_level, config.log_format, given["number"])
        _refuse_cuda(config)
        await serve(config, child.ready, child)
    except UserError as error:
        child.failed(f"{error}{error.hint}")
        return FAILED
    except Exception as error:
        return report(error, "serve", COMMANDS["serve"].install)
    return 0


def _refuse_cuda(config: "ServerConfig") -> None:
    """Raise `UserError` where the server would choose the GPU by itself."""
    from bertwire_core.errors import UserError
    from bertwire_runtime.session import cuda_fault

    if config.provider == "auto" and cuda_fault() is None:
        raise UserError(
            "--processes is for the CPU, and --provider auto takes CUDA here; give --provider cpu, or leave out "
            "--processes"
        )


if __name__ == "__main__":
    main()
