"""The command `bertwire serve`."""

from bertwire_core.options import command
from bertwire_server.config import ServerConfig


def run_serve(config: ServerConfig) -> None:
    """Serve a bundle, or a repository of bundles, over gRPC.

    The port opens after the warm-up. SIGHUP takes over what has changed in the folder. After SIGTERM or Ctrl-C health
    says NOT_SERVING, calls are accepted for a while, those accepted are answered, and the exit status is 0. A second
    one ends it at once.
    """
    import asyncio
    import logging
    import os
    import sys

    from bertwire_core.commands import COMMANDS
    from bertwire_core.faults import report
    from bertwire_server.app import serve as run
    from bertwire_server.telemetry.logs import configure

    # The library's thread pool costs more per text than tokenizing it.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    configure(config.log_level, config.log_format)
    try:
        asyncio.run(run(config, lambda line: print(line, flush=True)))
        status = 0
    except Exception as error:
        status = report(error, "serve", COMMANDS["serve"].install)
    # All is closed. With a run that hangs or was abandoned, the interpreter's own shutdown would abort.
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


serve = command(ServerConfig, run_serve)
