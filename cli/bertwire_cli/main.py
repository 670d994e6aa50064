"""The command `bertwire`. Imports only the standard library, and a command's dependencies when it is requested."""

import os
import sys

from bertwire_core.process import interrupt_on_signals, readable
from bertwire_core.standard import open_streams, use_utf8


def main() -> None:
    """Run the command line and exit."""
    use_utf8()
    open_streams()
    name = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    interrupt_on_signals()
    # gRPC logs every lost connection to standard error.
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    # ONNX Runtime would write a device id into the home folder and send usage data.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    with readable(name):
        from bertwire_cli.app import build_app

        build_app(name)()
