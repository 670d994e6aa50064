"""The command `bertwire`. Standard library only: what a command needs is loaded when that command is asked for."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from bertwire_client.faults import INTERRUPTED, report


@dataclass(frozen=True, slots=True)
class Command:
    """Where a command is found, and what `bertwire --help` says of it."""

    module: str
    install: str
    summary: str


CLI = "'bertwire[cli]'"

COMMANDS = {
    "train": Command("bertwire_trainer.cli", "'bertwire[train]'", "Fine-tune a BERT-family encoder on labelled texts."),
    "export": Command(
        "bertwire_export.cli", "'bertwire[export]'", "Convert a checkpoint to ONNX, prove it and seal a bundle."
    ),
    "inspect": Command("bertwire_export.cli", CLI, "Verify a bundle and print what it holds."),
    "bundle": Command("bertwire_export.bundle_cli", "'bertwire[sign]'", "Sign a bundle, and verify its signature."),
    "serve": Command(
        "bertwire_server.cli", "'bertwire[serve,cpu]' or 'bertwire[serve,gpu]'", "Serve a bundle over gRPC."
    ),
    "score": Command("bertwire_client.score.cli", CLI, "Score every row of a file against a server."),
}


def main() -> None:
    """Runs the command line and exits."""
    name = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    # The server winds down by its own handlers; everything else stops as for Ctrl-C.
    if name != "serve":
        signal.signal(signal.SIGTERM, _interrupt)
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
        yield
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("bertwire: interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except Exception as error:
        sys.exit(report(error, name, COMMANDS[name].install if name in COMMANDS else CLI))


def _interrupt(number: int, frame: FrameType | None) -> None:
    # asyncio has its own way with Ctrl-C while it runs; without one Ctrl-C may be ignored, as for `bertwire ... &`.
    handler = signal.getsignal(signal.SIGINT)
    if callable(handler):
        handler(number, frame)
    else:
        raise KeyboardInterrupt
