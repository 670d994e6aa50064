"""The command `bertwire`. Standard library only: what a command needs is loaded when that command is asked for."""

import atexit
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from bertwire_client.faults import CLI, INTERRUPTED, report
from bertwire_client.standard import open_streams, require_written, use_utf8


@dataclass(frozen=True, slots=True)
class Command:
    """Where a command is found, and what `bertwire --help` says of it."""

    module: str
    install: str
    summary: str


COMMANDS = {
    "train": Command("bertwire_trainer.cli", "'.[train]'", "Fine-tune a BERT-family encoder on labelled texts."),
    "export": Command(
        "bertwire_export.cli",
        "'.[export,cpu]' or '.[export,gpu]'",
        "Convert a checkpoint to ONNX, prove it and seal a bundle.",
    ),
    "inspect": Command("bertwire_export.cli", CLI, "Verify a bundle and print what it holds."),
    "bundle": Command("bertwire_export.bundle_cli", "'.[sign]'", "Sign a bundle, and verify its signature."),
    "serve": Command("bertwire_server.cli", "'.[serve,cpu]' or '.[serve,gpu]'", "Serve a bundle over gRPC."),
    "keys": Command("bertwire_server.access.keys_cli", CLI, "Make API keys for a server."),
    "classify": Command("bertwire_client.classify_cli", CLI, "Classify texts given on the command line."),
    "models": Command("bertwire_client.models_cli", CLI, "List, load and unload the models of a server."),
    "score": Command("bertwire_client.score.cli", CLI, "Score every row of a file against a server."),
}


def main() -> None:
    """Runs the command line and exits."""
    use_utf8()
    open_streams()
    name = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    interrupt_on_signals()
    # gRPC tells of every server that goes away, in its own words and between ours.
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    # ONNX Runtime would write a device id into the home folder and report how it is used.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    with readable(name):
        from bertwire_client.app import build_app

        build_app(name)()


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
