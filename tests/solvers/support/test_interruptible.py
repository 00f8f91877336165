"""Ctrl-C during compiled code."""

import _thread
from threading import Event, Thread, main_thread

import pytest

from solvers._support.interruptible import interruptible


def test_it_returns_and_raises_what_the_function_does():
    assert interruptible(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        interruptible(lambda: 1 // 0)


def test_ctrl_c_does_not_wait_for_the_end():
    """Of a function that would wait for ever, without Python's lock, in a thread that nothing waits for."""
    end, threads = Event(), []

    def wait():
        threads.append(_thread.get_ident())
        _thread.interrupt_main()
        end.wait()

    with pytest.raises(KeyboardInterrupt):
        interruptible(wait)
    assert not end.is_set() and threads != [main_thread().ident]
    end.set()


def test_beside_the_main_thread_the_function_is_called_there():
    found = []
    thread = Thread(
        target=lambda: found.append(interruptible(_thread.get_ident) == _thread.get_ident())
    )
    thread.start()
    thread.join()
    assert found == [True]
