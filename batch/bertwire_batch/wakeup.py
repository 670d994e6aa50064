"""Immediate signal handling in an idle event loop."""

import asyncio
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def woken_by_signals() -> Iterator[None]:
    """Wake the running loop at every signal, so that its handler runs at once; no effect outside the main thread.

    Python runs handlers between bytecode instructions of the main thread. Without the wake-up, a signal just before the
    loop blocks would be handled only at the next event.
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
