"""Signals that reach an event loop which is just falling asleep."""

import asyncio
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def woken_by_signals() -> Iterator[None]:
    """Lets every signal wake the running loop, so that its handler is run at once; in the main thread only.

    Python runs a handler between two instructions of the main thread. A signal that comes after the last of them and
    before the loop waits for events would otherwise have its handler run when the next event comes, which may be never.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    receiver, sender = socket.socketpair()
    receiver.setblocking(False)
    sender.setblocking(False)
    before = signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
    loop.add_reader(receiver, receiver.recv, 4096)
    try:
        yield
    finally:
        loop.remove_reader(receiver)
        signal.set_wakeup_fd(before)
        receiver.close()
        sender.close()
