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
    import os

    from bertwire_core.commands import COMMANDS
    from bertwire_core.faults import report
    from bertwire_server.host import leave
    from bertwire_server.telemetry.logs import configure

    # The library's thread pool costs more per text than tokenizing it.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if config.processes > 1:
        from bertwire_server.processes.parent import serve as run
    else:
        from bertwire_server.app import serve as run
    configure(config.log_level, config.log_format)
    try:
        asyncio.run(run(config, lambda line: print(line, flush=True)))
        status = 0
    except Exception as error:
        status = report(error, "serve", COMMANDS["serve"].install)
    leave(status)


serve = command(ServerConfig, run_serve)
