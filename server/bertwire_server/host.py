"""What runs a server: a process of its own, or one of several behind one port (`processes/`)."""

import asyncio
import logging
import os
import signal
import sys
from typing import NoReturn


class Host:
    """Runs one server in a process of its own: signals stop it, and its state goes nowhere else."""

    def stops(self) -> tuple[asyncio.Event, asyncio.Event]:
        """Return the events set by the first and the second order to stop, here SIGTERM or SIGINT."""
        first, second = asyncio.Event(), asyncio.Event()

        def note() -> None:
            (second if first.is_set() else first).set()

        loop = asyncio.get_running_loop()
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(each, note)
        return first, second

    def metrics_at(self, port: int | None) -> None:
        """Note the port of the server's metrics; None where they are not served."""

    def serving(self, serving: bool) -> None:
        """Note whether the server's health is SERVING; called at every change of a model."""


def leave(status: int) -> NoReturn:
    """End the process of a closed server at once.

    With a run that hangs or was abandoned, the interpreter's own shutdown would abort.
    """
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
