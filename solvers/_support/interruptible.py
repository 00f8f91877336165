"""Calls of compiled code that Ctrl-C ends."""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread, current_thread, main_thread
from typing import Any, TypeVar

T = TypeVar("T")

#: Seconds between two looks for Ctrl-C.
_PERIOD = 0.1


def interruptible(function: Callable[[], T]) -> T:
    """What a function returns or raises; a KeyboardInterrupt at once, where it runs without Python's lock.

    Python handles signals between its own instructions, so that Ctrl-C would wait for the end. The function goes on in a thread
    that nothing waits for, not even the end of the program.
    """
    if current_thread() is not main_thread():  # where no signals come
        return function()
    ended: list[Any] = []

    def run() -> None:
        try:
            ended.extend((True, function()))
        except BaseException as error:
            ended.extend((False, error))

    thread = Thread(target=run, daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(_PERIOD)
    succeeded, value = ended
    if not succeeded:
        raise value
    found: T = value
    return found
