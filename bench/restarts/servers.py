"""Servers that can be restarted on their port."""

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from bench.restarts.ways import free_ports
from bertwire_core.errors import UserError


class Server:
    """A `bertwire serve` process and, after a restart, the next one.

    Attributes:
        port: where it listens.
    """

    def __init__(self, bundle: Path, port: int, options: Sequence[str]) -> None:
        self.port = port
        self._command = ["-m", "bertwire_cli", "serve", str(bundle), "--port", str(port), "--threads", "1", *options]
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Returns when it is ready; raises `UserError` where it does not start."""
        pipe = asyncio.subprocess.PIPE
        command = [*self._command, "--log-level", "warning"]
        self._process = await asyncio.create_subprocess_exec(sys.executable, *command, stdout=pipe)
        assert self._process.stdout is not None  # noqa: S101 - a pipe was asked for
        if b" at " not in await self._process.stdout.readline():
            raise UserError("a server did not start")

    async def restart(self) -> None:
        """Tells it to stop, waits for its end, and starts it; raises `UserError` where it does not end well."""
        assert self._process is not None  # noqa: S101 - it was started
        self._process.terminate()
        if status := await self._process.wait():
            raise UserError(f"a server ended with status {status}")
        await self.start()

    async def kill(self) -> None:
        """Ends it at once."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


@asynccontextmanager
async def pair(bundle: Path, options: Sequence[str]) -> AsyncIterator[list[Server]]:
    """Two ready servers of a bundle."""
    servers = [Server(bundle, port, options) for port in free_ports(2)]
    try:
        await asyncio.gather(*(each.start() for each in servers))
        yield servers
    finally:
        await asyncio.gather(*(each.kill() for each in servers))
