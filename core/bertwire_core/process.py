"""A command as a process: one line for a failure, exit status, signals."""

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
    """Ends the process with one line for a person, and the exit status, where the block fails."""
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
    """Lets Ctrl-C and SIGTERM raise KeyboardInterrupt, once.

    A second one, which a parent process or an impatient finger sends while the first winds down, changes nothing; a
    third ends the process as if there were no handler. Where Ctrl-C is ignored, as for `bertwire ... &`, it stays so.
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
    # Python gives up handlers before it is gone; a late signal would then turn the exit status into its own.
    atexit.register(_ignore_signals)


def _ignore_signals() -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
