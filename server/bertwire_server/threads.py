"""Worker threads."""

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

# Niceness of threads that compute on the CPU beside the event loop, whose tasks take fractions of a millisecond. At 0
# the loop waits for scheduler time slices.
BEHIND = 5


def worker(name: str, niceness: int = 0) -> ThreadPoolExecutor:
    """Return an executor with one thread; threads that this one starts inherit its niceness."""

    def begin() -> None:
        if niceness and sys.platform == "linux":  # Linux only: elsewhere niceness is per process
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), niceness)

    return ThreadPoolExecutor(1, name, begin)
