"""The command `bertwire`. Standard library only: what a command needs is loaded when that command is asked for."""

import os
import sys

from bertwire_core.process import interrupt_on_signals, readable
from bertwire_core.standard import open_streams, use_utf8


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
        from bertwire_cli.app import build_app

        build_app(name)()
