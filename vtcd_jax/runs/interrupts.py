"""Ctrl-C during masked passes: the first ends the run after saving the running blocks, the second at once.

Python calls signal handlers between its own instructions, and a block of passes is one long instruction. So a thread
reads the signal numbers from a socket, which the low-level handler writes immediately.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

FAILED = 1  # the exit code of interruptions


@contextmanager
def graceful_interrupt() -> Iterator[Callable[[], bool]]:
    """Yields a function that returns whether the user has interrupted; raises KeyboardInterrupt at the end if so.

    Always False outside the main thread, which alone receives signals, and in a process that ignores interrupts.
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        yield asked.is_set
        return
    reading, writing = socket.socketpair()
    writing.setblocking(False)
    thread = threading.Thread(target=_watch, args=(reading, asked), daemon=True)
    thread.start()
    handler = signal.signal(signal.SIGINT, lambda number, frame: None)
    descriptor = signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
    try:
        yield asked.is_set
    finally:
        signal.set_wakeup_fd(descriptor)
        signal.signal(signal.SIGINT, handler)
        writing.close()  # the thread reads what is there, then ends
        thread.join()
        reading.close()
    if asked.is_set():
        raise KeyboardInterrupt


def _watch(signals: socket.socket, asked: threading.Event) -> None:
    while numbers := signals.recv(64):
        for _ in range(numbers.count(signal.SIGINT)):
            if asked.is_set():
                _print("ended at once; finished blocks are saved")
                os._exit(FAILED)  # without waiting for the running computation
            asked.set()
            _print("saving the running blocks; Ctrl-C again ends at once")


def _print(text: str) -> None:
    print(f"\nvtcd: {text}", file=sys.stderr, flush=True)
