"""Threads for blocking work."""

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

# Niceness of what computes long beside the event loop on the CPU: the loop refuses, answers health checks and hands
# results out, each in a fraction of a millisecond. At 0 the loop waits for the scheduler's time slices instead.
BEHIND = 5


def worker(name: str, niceness: int = 0) -> ThreadPoolExecutor:
    """Make a thread that does one thing after the other; threads that it starts have its niceness."""

    def begin() -> None:
        if niceness and sys.platform == "linux":  # where each thread has a niceness of its own
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), niceness)

    return ThreadPoolExecutor(1, name, begin)
