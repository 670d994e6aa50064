"""One server process, kept running."""

import asyncio
import json
import logging
import signal
import sys
import time
from contextlib import suppress
from typing import Any

from bertwire_core.errors import UserError

_log = logging.getLogger(__name__)
# -P: without the current folder among the places of modules.
_COMMAND = (sys.executable, "-P", "-m", "bertwire_server.processes.child")
# Seconds before a process that died is started again, doubled with each further death up to the longest. Halved, a
# process that cannot start takes twice the CPU from the others.
_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.5, 30.0
# Seconds after which a death is taken for the first. Halved, one that dies every minute is started without a pause.
_STEADY_SECONDS = 60.0
# Seconds without a word after which a process does not count as serving; it tells one each second. Halved, one whose
# event loop is late on a busy machine may count as hung.
_SILENT_SECONDS = 5.0
# Seconds from the second order to stop until the process is killed. Halved, one that ends on a busy machine is killed.
_KILL_SECONDS = 3.0


class Worker:
    """Keeps one server process running. Methods belong to the event loop; attributes may be read in any thread.

    Attributes:
        number: of the process, from 0.
        line: how the process announced itself when it was ready; empty while it is not.
        metrics_port: port of its metrics on 127.0.0.1; None while it has none.
        restarts: how often it was started again.
        first_ready: set once it has been ready.
    """

    def __init__(self, number: int, cores: list[int], settings: dict[str, Any], stop_seconds: float) -> None:
        """Prepare a process.

        Args:
            number: of the process.
            cores: numbers of the CPUs that it runs on.
            settings: values of its `ServerConfig`, as JSON has them.
            stop_seconds: seconds from the first order to stop until the process is killed.
        """
        self.number, self._order = number, {"number": number, "cores": cores, "settings": settings}
        self.line, self.restarts, self.first_ready = "", 0, asyncio.Event()
        self.metrics_port: int | None = None
        self._serving, self._failed = False, ""
        self._process: asyncio.subprocess.Process | None = None
        self._stops, self._stopping, self._stop_seconds = 0, asyncio.Event(), stop_seconds
        # When the process last told something, by `time.monotonic`; None until it does.
        self._heard: float | None = None

    @property
    def serving(self) -> bool:
        """Whether the process listens, its health is SERVING, it is not hung, and it was not told to stop."""
        heard = self._heard
        alive = heard is not None and time.monotonic() - heard < _SILENT_SECONDS
        return alive and bool(self.line) and self._serving and not self._stops

    async def run(self) -> str:
        """Run the process, again whenever it dies, until it was told to stop.

        Returns:
            what went wrong when a process that had been ready was told to stop; empty where nothing did.

        Raises:
            UserError: the process ended before it was ready for the first time.
        """
        deaths = 0
        while True:
            began = time.monotonic()
            status, was_ready = await self._live()
            reason = self._failed or _ended(status)
            if self._stops:
                return f"process {self.number}: {reason}" if status and was_ready else ""
            if not self.first_ready.is_set():
                raise UserError(self._failed or f"process {self.number} {reason} before it was ready")
            deaths = 1 if time.monotonic() - began > _STEADY_SECONDS else deaths + 1
            pause = min(_PAUSE_SECONDS * 2.0 ** min(deaths - 1, 10), _LONGEST_PAUSE_SECONDS)
            _log.error("process %d: %s; it is started again in %g s", self.number, reason, pause)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._stopping.wait()
                    return ""
            self.restarts += 1

    def stop(self) -> None:
        """Pass an order to stop on: the first lets the server drain, the second ends it at once.

        A process that does not end in time, for example a stopped one, is killed.
        """
        self._stops += 1
        self._stopping.set()
        self._send("stop")
        seconds = self._stop_seconds if self._stops == 1 else _KILL_SECONDS
        asyncio.get_running_loop().call_later(seconds, self._kill, f"did not stop within {seconds:g} s: killed")

    def reload(self) -> None:
        """Have the server look at its models again."""
        # A process that has told nothing yet would be ended by the signal, and has its models to look at before it.
        if self._process is not None and self._heard is not None:
            with suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGHUP)

    async def _live(self) -> tuple[int, bool]:
        """Run the process to its end; return its status, and whether it was ready."""
        self._failed = ""
        pipe = asyncio.subprocess.PIPE
        # In a session of its own, so that Ctrl-C reaches the parent alone.
        try:
            process = await asyncio.create_subprocess_exec(*_COMMAND, stdin=pipe, stdout=pipe, start_new_session=True)
        except OSError as error:
            self._failed = f"could not be started: {error}"
            return 1, False
        self._process = process
        self._send(json.dumps(self._order))
        for _ in range(self._stops):
            self._send("stop")
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        try:
            async for line in process.stdout:
                self._read(json.loads(line))
        except ValueError as error:
            self._kill(f"told what cannot be read ({error}): killed")
        status, was_ready = await process.wait(), bool(self.line)
        self._process, self._heard, self.metrics_port, self._serving, self.line = None, None, None, False, ""
        return status, was_ready

    def _send(self, line: str) -> None:
        if self._process is not None and self._process.stdin is not None and not self._process.stdin.is_closing():
            self._process.stdin.write(f"{line}\n".encode())

    def _kill(self, reason: str) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.kill()
                self._failed = reason

    def _read(self, state: dict[str, Any]) -> None:
        self._heard = time.monotonic()
        self._serving = state.get("serving", self._serving)
        self.metrics_port = state.get("metrics_port", self.metrics_port)
        self._failed = state.get("failed", self._failed)
        if "ready" in state:
            self.line = state["ready"]
            self.first_ready.set()
            _log.info("process %d takes calls", self.number)


def _ended(status: int) -> str:
    """Describe how a process ended, as subprocess numbers it."""
    return f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
