"""How many threads compute: ours and those of BLAS together."""

import os
import subprocess
import sys
import threading

import numba
import numpy as np
import pytest
from numba.np.ufunc import parallel

import meanfield
from meanfield._kernels import atomic, threads
from meanfield.study.engine.signals import Interruption
from meanfield.study.width import study as width_study
from meanfield.study.width.study import Execution
from solvers._support.threads import blas_libraries
from tests.helpers.clocks import HANGS

MUCH = 10**9  # multiply-adds


@numba.njit
def take(counter):
    return atomic.take(counter)


@pytest.fixture
def of_four(monkeypatch):
    """As on a machine with four cores, of which numba may use as many as it is told."""
    told = [4]
    monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", 4)
    monkeypatch.setattr(numba, "get_num_threads", lambda: told[0])
    monkeypatch.setattr(threads, "most_threads", lambda: told[0])
    monkeypatch.setattr(numba, "set_num_threads", lambda count: told.__setitem__(0, count))


def at_work(n_blocks, prepared, comers=1, blas=False):
    """The threads that came, the blocks they did, and the threads that BLAS had; none begins before so many have come."""
    names, blocks, of_blas = set(), [], set()
    all_there = threading.Barrier(comers)

    def compute(counter):
        names.add(threading.get_ident())
        if len(names) <= comers:
            all_there.wait(timeout=HANGS)
        while (block := take(counter)) < n_blocks:
            blocks.append(block)
        of_blas.update(library.num_threads for library in blas_libraries())

    threads.run_blocks(compute, n_blocks, prepared, blas)
    return names, sorted(blocks), of_blas


@pytest.mark.parametrize("count", [1, 2, 4])
def test_as_many_threads_as_are_told_do_all_blocks_once(of_four, count):
    threads.use_threads(count)
    assert threads.most_threads() == count
    names, blocks, _ = at_work(16, MUCH, comers=count)
    assert len(names) == count and blocks == list(range(16))


def test_blas_has_one_thread_in_each_of_ours_and_its_own_again_after(of_four):
    before = [library.num_threads for library in blas_libraries()]
    _, _, of_blas = at_work(8, MUCH, comers=4, blas=True)
    assert of_blas == {1}
    assert [library.num_threads for library in blas_libraries()] == before


@pytest.mark.parametrize("failing", range(8))
def test_what_a_block_raises_is_raised_whichever_thread_had_it(of_four, failing):
    def compute(counter):
        while (block := take(counter)) < 8:
            if block == failing:
                raise IndexError(block)  # as compiled code raises with its checks on

    threads.use_threads(2)
    with pytest.raises(IndexError, match=str(failing)):
        threads.run_blocks(compute, 8, MUCH, False)


def test_little_work_wakes_no_thread(of_four):
    main = threading.get_ident()
    assert at_work(16, 100_000)[0] == {main}
    assert len(at_work(16, 3_000_000)[0]) <= 3


def test_a_share_of_the_cores_yields_to_what_the_environment_says(of_four, monkeypatch):
    monkeypatch.delenv("NUMBA_NUM_THREADS", raising=False)
    threads.use_cores(2)
    assert threads.most_threads() == 2
    monkeypatch.setenv("NUMBA_NUM_THREADS", "4")
    threads.use_cores(1)
    assert threads.most_threads() == 2
    threads.use_threads(3)  # told explicitly, as by --threads
    assert threads.most_threads() == 3


@pytest.mark.parametrize("count", [0, -1, 5])
def test_threads_that_there_are_not_are_refused(of_four, count):
    with pytest.raises(ValueError, match=f"threads must be an integer from 1 to 4, got {count}"):
        threads.use_threads(count)


@pytest.mark.parametrize("d", [2, 50])
def test_no_bit_depends_on_the_number_of_threads(of_four, d):
    risk = meanfield.Risk(
        meanfield.TwoLayerNetwork(d), meanfield.tasks.teacher_student(n=700, input_dim=d)
    )
    x = risk.network.initialize(3000, seed=0)
    gradients = []
    for count in (1, 3, 4):
        threads.use_threads(count)
        gradients.append(risk.gradient(x))
    assert np.array_equal(gradients[0], gradients[1]) and np.array_equal(*gradients[1:])


def test_a_width_study_shares_its_threads_among_its_processes(monkeypatch):
    monkeypatch.setattr(width_study, "available_cores", lambda: 4)
    assert Execution().cores() == Execution().workers() == 4
    assert Execution(threads=3).cores() == Execution(threads=3).workers() == 3
    assert Execution(jobs=1, threads=3).workers() == 1
    with pytest.raises(ValueError, match="jobs must be at most threads = 2, got 3"):
        Execution(jobs=3, threads=2).workers()
    for count in (0, 5):
        with pytest.raises(
            ValueError, match=f"threads must be an integer from 1 to 4, got {count}"
        ):
            Execution(threads=count).cores()
    told = []
    monkeypatch.setattr(width_study, "do_jobs", lambda jobs, *how: told.append(how[:2]) or {})
    for workers, cores in ((4, 4), (1, 3), (2, 4), (3, 2)):
        width_study._Crew(workers, cores, Interruption()).do([None] * 4, print)
    assert told == [(4, 1), (1, 3), (2, 2), (3, 1)]


FORKED = """
import os, numpy as np, meanfield
risk = meanfield.Risk(meanfield.TwoLayerNetwork(2), meanfield.tasks.teacher_student(n=700, input_dim=2))
x = risk.network.initialize(3000, seed=0)
g = risk.gradient(x)
child = os.fork()
same = bool(np.array_equal(risk.gradient(x), g))
if not child:
    os._exit(0 if same else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0 and same
"""


@pytest.mark.slow
@pytest.mark.essential
@pytest.mark.skipif(sys.platform != "linux", reason="forks")
def test_a_forked_process_has_threads_of_its_own():
    subprocess.run([sys.executable, "-W", "ignore", "-c", FORKED], check=True, timeout=HANGS)


def test_no_kernel_waits_for_a_lock_that_ctrl_c_has_left_taken():
    """Numba's, of starting its threads: an interrupt between taking and noting it leaves it with the main thread."""
    risk = meanfield.Risk(meanfield.TwoLayerNetwork(64), meanfield.tasks.digits(n=5))
    x = risk.network.initialize(4, seed=0)
    expected, found = risk.gradient(x), []
    numba.get_num_threads()
    lock = parallel._backend_init_process_lock
    lock.acquire()
    try:
        thread = threading.Thread(target=lambda: found.append(risk.gradient(x)), daemon=True)
        thread.start()
        thread.join(HANGS)
    finally:
        lock.release()
    np.testing.assert_array_equal(found, [expected])


ONE_OF_OPENMP = """
import sys
import numpy as np
{first}
import meanfield
from meanfield._kernels.threads import most_threads, use_threads
from meanfield.study.engine.machine import machine
risk = meanfield.Risk(meanfield.TwoLayerNetwork(2), meanfield.tasks.teacher_student(n=20, input_dim=2))
risk.gradient(risk.network.initialize(30, seed=0))
assert machine()["threads"] == most_threads() == {threads}
use_threads({told})
assert most_threads() == {told}
import torch
assert torch.get_num_threads() == 1, torch.get_num_threads()
"""


@pytest.mark.slow
@pytest.mark.essential
@pytest.mark.parametrize("first", ["", "import torch"], ids=["before torch", "after torch"])
@pytest.mark.parametrize(("threads", "told"), [(2, 1), (2, 2), (3, 2)])
def test_the_threads_of_pytorch_stay_as_many_as_the_environment_says(first, threads, told):
    """Starting numba's threads would tell OpenMP, whose number PyTorch takes, to use as many."""
    pytest.importorskip("torch")
    code = ONE_OF_OPENMP.format(first=first, threads=threads, told=told)
    environment = os.environ | {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": str(threads)}
    subprocess.run([sys.executable, "-c", code], check=True, timeout=HANGS, env=environment)
