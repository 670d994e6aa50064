"""Error reporting, exit status and signals of a command's process."""

import atexit
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from bertwire_core.commands import COMMANDS
from bertwire_core.faults import CLI, INTERRUPTED, report
from bertwire_core.standard import require_written


@contextmanager
def readable(name: str) -> Iterator[None]:
    """End the process with one line and an exit status where the block fails."""
    try:
        try:
            yield
        except SystemExit as ended:  # of --help and --version
            if ended.code:
                raise
        require_written()
    except KeyboardInterrupt:
        print("bertwire: interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except Exception as error:
        sys.exit(report(error, name, COMMANDS[name].install if name in COMMANDS else CLI))


def interrupt_on_signals() -> None:
    """Raise KeyboardInterrupt at the first Ctrl-C or SIGTERM.

    The second is ignored, since a parent process may send both; the third ends the process at once. SIGINT stays
    ignored where it is, as for `bertwire ... &`.
    """
    count = 0

    def handle(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - Python passes it
        nonlocal count
        count += 1
        if count == 1:
            raise KeyboardInterrupt
        if count > 2:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    signal.signal(signal.SIGTERM, handle)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, handle)
    # Python resets handlers before it exits; a late signal would then change the exit status.
    atexit.register(_ignore_signals)


def _ignore_signals() -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
