"""Processes that are threads, of which one runs at a time: what MPI does, inside one test."""

import threading

import numpy as np

from tests.helpers.clocks import HANGS


class Lockstep:
    """One of several; see `meanfield.distributed.communicator.SupportsArrays`."""

    def __init__(self, rank, size, slots, barrier, baton):
        self.rank, self.size = rank, size
        self._slots, self._barrier, self._baton = slots, barrier, baton

    def add(self, array):
        array[...] = sum(self._exchange(array.copy()))

    def join(self, rows, counts):
        parts = self._exchange(np.array(rows))
        assert [len(part) for part in parts] == list(counts)
        return np.concatenate(parts)

    def numbers(self, own):
        return np.array(self._exchange(float(own)))

    def _exchange(self, value):
        self._slots[self.rank] = value
        self._baton.release()
        self._barrier.wait(timeout=HANGS)
        values = list(self._slots)
        self._barrier.wait(timeout=HANGS)
        self._baton.acquire()
        return values


def in_lockstep(size, function):
    """[function(processes) of each]; the first error that is not a consequence of another one is raised."""
    slots, barrier, baton = [None] * size, threading.Barrier(size), threading.Lock()
    results, errors = [None] * size, []

    def work(rank):
        with baton:
            try:
                results[rank] = function(Lockstep(rank, size, slots, barrier, baton))
            except BaseException as error:
                errors.append(error)
                barrier.abort()

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for error in errors:
        if not isinstance(error, threading.BrokenBarrierError):
            raise error
    return results
