"""BLAS on one thread: whichever threads of a program ask for it, in any order, and one after a fork."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

import meanfield
import solvers
from solvers._support import threads
from solvers._support.threads import blas_libraries, one_blas_thread
from tests.helpers.clocks import HANGS


@pytest.fixture(autouse=True)
def of_two():
    """As on a machine with several cores."""
    with threadpool_limits(2, user_api="blas"):
        yield


def counts():
    return {library.num_threads for library in blas_libraries()}


def in_a_thread(function):
    with ThreadPoolExecutor(1) as other:
        return other.submit(function).result(HANGS)


def inside():
    with one_blas_thread():
        return counts()


@pytest.mark.parametrize(
    "first", [inside, lambda: in_a_thread(inside)], ids=["here", "in a thread"]
)
@pytest.mark.parametrize("then", [inside, lambda: in_a_thread(inside)], ids=["here", "in a thread"])
def test_it_holds_in_every_thread_and_ends(first, then):
    assert (first(), counts(), then(), counts()) == ({1}, {2}, {1}, {2})


def test_it_ends_when_the_last_has_left():
    entered, leave = threading.Event(), threading.Event()

    def other():
        with one_blas_thread():
            entered.set()
            leave.wait(HANGS)
            return counts()

    with ThreadPoolExecutor(1) as pool:
        with one_blas_thread():
            theirs = pool.submit(other)
            assert entered.wait(HANGS)
        assert counts() == {1}
        leave.set()
        assert theirs.result(HANGS) == {1}
    assert counts() == {2}


def test_within_it_is_entered_again_and_what_a_callback_sets_is_undone():
    with one_blas_thread():
        assert inside() == {1}
        for library in blas_libraries():
            threads._set_threads(library, 2)
        assert inside() == {1}
    assert counts() == {2}


def test_an_exception_ends_it():
    with pytest.raises(KeyboardInterrupt), one_blas_thread():
        raise KeyboardInterrupt
    assert counts() == {2} and not threads._inside


@pytest.mark.parametrize("interrupted", ["_enter", "_leave"])
def test_an_interrupt_while_it_is_entered_or_left_ends_it(interrupted, monkeypatch):
    usual, times = getattr(threads, interrupted), []

    def once(token):
        times.append(token)
        if interrupted == "_enter":
            usual(token)
        if len(times) == 1:
            raise KeyboardInterrupt
        usual(token)

    monkeypatch.setattr(threads, interrupted, once)
    with pytest.raises(KeyboardInterrupt), one_blas_thread():
        pass
    assert counts() == {2} and not threads._inside


def test_a_program_limits_its_threads_from_any_thread():
    def limited():
        with threadpool_limits(1, user_api="blas"):
            return counts()

    inside()
    assert (in_a_thread(limited), counts()) == ({1}, {2})


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_fork_in_the_midst_of_it_hangs_nothing():
    """As of a program that forks while another of its threads enters or is within."""
    with ThreadPoolExecutor(1) as pool:
        there, end = threading.Event(), threading.Event()

        def other():
            with one_blas_thread(), threads._lock:
                there.set()
                end.wait(HANGS)

        theirs = pool.submit(other)
        assert there.wait(HANGS)
        child = os.fork()
        if not child:
            os._exit(0 if (inside(), counts()) == ({1}, {2}) else 1)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        end.set()
        theirs.result(HANGS)
    assert code == 0


def test_no_bit_of_a_run_depends_on_the_python_thread():
    """900 inputs, whose products are BLAS's: three runs at once, each in a thread of its own, and none of them here before."""
    rng = np.random.default_rng(0)
    task = meanfield.tasks.Task(rng.standard_normal((100, 900)), rng.standard_normal((100, 1)))
    risk = meanfield.Risk(meanfield.TwoLayerNetwork(900), task)
    x0 = [risk.network.initialize(60, seed=seed) for seed in range(3)]

    def end(x):
        return solvers.solve(solvers.GradientDescent(0.1), risk, x, steps=5).centers[-1]

    here = [end(x) for x in x0]
    with ThreadPoolExecutor(3) as pool:
        np.testing.assert_array_equal(list(pool.map(end, x0)), here)


@pytest.mark.parametrize("method", ["exact", "entropic"])
def test_a_step_on_a_grid_takes_one(method):
    seen = []

    def height(x):
        seen.append(counts())
        return x[:, 0]

    grid = solvers.Grid(np.linspace(0, 1, 11), np.full(10, 0.1))
    energy = solvers.energies.Potential(height)
    solvers.GridJKO(0.01, method=method).step(energy, grid)
    assert set(map(frozenset, seen)) == {frozenset({1})} and counts() == {2}
