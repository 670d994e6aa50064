"""The client, a process of its own.

`python -m bench.load MODE ADDRESS PID TEXTS OPTIONS` with the server's process id, a table of texts and the mode's
arguments in JSON prints one JSON object: its figures, and the timeline where the mode has one.
"""

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from bench.calls import Target
from bench.modes.closed import closed
from bench.modes.fairness import fairness
from bench.modes.overload import overload
from bench.modes.stream import stream
from bench.texts import read_texts
from bertwire_core.errors import UserError

MODES: dict[str, Callable[..., Any]] = {each.__name__: each for each in (closed, fairness, overload, stream)}


def main(mode: str, address: str, pid: str, texts: str, options: str) -> None:
    """Run one mode and print its figures."""
    target = Target(address, psutil.Process(int(pid)), read_texts(Path(texts)))
    found = asyncio.run(MODES[mode](target, **json.loads(options)))
    figures, timeline = found if isinstance(found, tuple) else (found, None)
    print(json.dumps({"figures": figures, "timeline": timeline}))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except UserError as error:
        sys.exit(str(error))
