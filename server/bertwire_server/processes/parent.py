"""The parent of several server processes behind one port."""

import asyncio
import logging
import signal
from collections.abc import Callable, Sequence
from typing import Any

from bertwire_core.errors import UserError
from bertwire_runtime.cores import shares, usable_cores
from bertwire_server.config import ServerConfig
from bertwire_server.listen import hold
from bertwire_server.processes.front import Front
from bertwire_server.processes.worker import Worker

_log = logging.getLogger(__name__)
# Seconds that a process may take to stop beyond its delay and drain: it waits 7 for answers and models. Halved, one
# with a run that hangs is killed before it says why.
_END_SECONDS = 15.0


async def serve(config: ServerConfig, announce: Callable[[str], None]) -> None:
    """Run `config.processes` servers until SIGTERM or SIGINT, which they get as one server would, then return.

    A process that dies is started again. Calls `announce` once, when all are ready.

    Raises:
        UserError: the port cannot be used, a process did not start, or one gave up calls in the drain.
    """
    with hold(config.host, config.port) as held:
        settings = _settings(config, held.getsockname()[1])
        if (cores := usable_cores()) < config.processes:
            _log.warning("%d processes have %d cores, and each needs one", config.processes, cores)
        seconds = config.shutdown_delay_seconds + config.drain_seconds + _END_SECONDS
        workers = [Worker(number, share, settings, seconds) for number, share in enumerate(shares(config.processes))]
        front = None
        if config.metrics_port is not None:
            front = Front(workers, config.metrics_host, config.metrics_port)
        try:
            _pass_on_signals(workers)
            await _run(workers, announce)
        finally:
            if front is not None:
                await asyncio.to_thread(front.close)


def _settings(config: ServerConfig, port: int) -> dict[str, Any]:
    """Return the settings of each process: the shared port, one thread unless given, metrics for the parent."""
    metrics = {} if config.metrics_port is None else {"metrics_port": 0, "metrics_host": "127.0.0.1"}
    given = config.model_dump(mode="json", exclude_unset=True)
    return {**given, "port": port, "threads": config.threads or 1, **metrics}


def _pass_on_signals(workers: Sequence[Worker]) -> None:
    def stop() -> None:
        for each in workers:
            each.stop()

    def reload() -> None:
        for each in workers:
            each.reload()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    loop.add_signal_handler(signal.SIGHUP, reload)


async def _run(workers: Sequence[Worker], announce: Callable[[str], None]) -> None:
    runs = [asyncio.create_task(each.run()) for each in workers]
    announcing = asyncio.create_task(_announce(workers, announce))
    try:
        faults = [fault for fault in await asyncio.gather(*runs) if fault]
    finally:
        announcing.cancel()
        for worker, run in zip(workers, runs, strict=True):
            if not run.done():
                # One did not start: the others have nothing to drain yet.
                worker.stop()
                worker.stop()
        await asyncio.gather(*runs, return_exceptions=True)
    if faults:
        raise UserError("; ".join(faults))


async def _announce(workers: Sequence[Worker], announce: Callable[[str], None]) -> None:
    for each in workers:
        await each.first_ready.wait()
    announce(f"{len(workers)} processes, each {workers[0].line}")
