"""Ctrl-C while masked passes run: the first ends after the blocks under way, which are saved; the second at once.

Python calls signal handlers between its own instructions, and a block of passes is one long instruction. So a thread
reads the numbers of signals from a socket, which the system's part of the handler writes at once.
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
    """Gives a function that tells whether an interrupt was asked for, and ends with KeyboardInterrupt if it was.

    It never was outside the main thread, which alone gets signals, and where a shell told the process to ignore them.
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
                _say("ended at once; finished blocks are saved")
                os._exit(FAILED)  # nothing waits for a computation that is under way
            asked.set()
            _say("saving the blocks under way; Ctrl-C again ends at once")


def _say(text: str) -> None:
    print(f"\nvtcd: {text}", file=sys.stderr, flush=True)
