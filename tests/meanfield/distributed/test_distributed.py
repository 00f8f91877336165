"""Particles spread over processes, against the same in one process: bit for bit, so there is no tolerance.

The processes are threads in lockstep; `test_distributed_runs.py` has real ones.
"""

import itertools
import math

import numpy as np
import pytest

import solvers
from meanfield import _evaluation
from meanfield.distributed import GatheredRisk, SpreadRisk
from solvers.objective import norm, peak
from tests.helpers.lockstep import in_lockstep
from tests.helpers.spread_risks import bits, problem

# --- the tree of sums ---


@pytest.mark.parametrize(
    ("n", "n_groups"),
    [
        (1, 1),
        (2, 2),
        (5, 4),
        (17, 4),
        (100, 4),
        (128, 4),
        (129, 5),
        (400, 8),
        (2048, 8),
        (2049, 9),
        (3841, 16),
        (100_000, 16),
    ],
)
def test_groups_cut_the_particles_evenly_and_blocks_depend_on_their_size(n, n_groups):
    groups = _evaluation.group_bounds(n)
    sizes = np.diff(groups)
    assert groups[0] == 0 and groups[-1] == n and len(sizes) == n_groups
    assert sizes.min() >= 1 and np.ptp(sizes) <= 1
    bounds, first_blocks = _evaluation._blocks(groups, 128)
    assert [bounds[b] for b in first_blocks] == list(groups)
    shapes = {}
    for g, size in enumerate(sizes):
        blocks = bounds[first_blocks[g] : first_blocks[g + 1] + 1] - groups[g]
        assert shapes.setdefault(size, bits(blocks)) == bits(blocks)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_inner_product_is_the_mean_of_the_products(dtype):
    """Pairwise sums of n products err by at most about log2(n) ε of their absolute sum; the products are rounded once."""
    u, v = np.random.default_rng(0).standard_normal((2, 1000, 3)).astype(dtype)
    risk, _, _ = problem(3, dtype=dtype)
    products = (u.astype(float) * v).ravel()
    expected = math.fsum(products) / 1000
    bound = math.fsum(abs(products)) / 1000
    assert abs(risk.inner(u, v) - expected) <= 16 * np.finfo(dtype).eps * bound


def test_a_group_of_minus_zero_adds_as_one_of_zero():
    sums = np.array([[-0.0], [-0.0]])
    assert bits(_evaluation.mean_of(sums, 2)) == bits(_evaluation.mean_of(sums + 0.0, 2))


# --- objectives ---


def evaluations(risk, x, v):
    return {
        "value": risk.value(x),
        "gradient": risk.gradient(x),
        "hvp": risk.hvp(x, v),
        "third": risk.third(x, v),
        "inner": risk.inner(x, v),
        "outputs": risk.outputs(x),
    }


CASES = [
    dict(n_particles=5),
    dict(n_particles=17, n=1),
    dict(n_particles=40, d=40, c=3, loss="softmax"),
    dict(n_particles=40, d=1, train_output=False),
    dict(n_particles=17, d=40, train_output=False, output_bias=True),
    dict(n_particles=40, d=40, c=3, loss="softmax", output_bias=True),
    dict(n_particles=150, d=40, c=2, n=60),
]
SINGLE = [  # precision, whose kernels take seconds to compile
    dict(n_particles=17, d=40, dtype="float32"),
    dict(n_particles=40, d=40, train_output=False, dtype="float32"),
    dict(n_particles=17, d=40, train_output=False, dtype="float32", output_bias=True),
]
MORE_CASES = [
    dict(n_particles=40, c=3, loss="softmax"),
    dict(n_particles=40, c=3, loss="softmax", output_bias=True),
    dict(n_particles=17, dtype="float32"),
    dict(n_particles=40, train_output=False, dtype="float32"),
    dict(n_particles=17, train_output=False, dtype="float32", output_bias=True),
    dict(n_particles=40, d=1, train_output=False, dtype="float32"),
    dict(n_particles=700, d=40, c=2, n=300),
]
CASES += [pytest.param(case, marks=[pytest.mark.slow, pytest.mark.essential]) for case in SINGLE]
CASES += [pytest.param(case, marks=pytest.mark.slow) for case in MORE_CASES]


@pytest.mark.parametrize("size", [1, 2, 3, 4])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_evaluations_are_those_of_one_process(case, size):
    risk, x, v = problem(**case)
    expected = {name: bits(value) for name, value in evaluations(risk, x, v).items()}

    def spread(processes):
        shares = SpreadRisk(risk, len(x), processes)
        assert len(shares.own(x)) < len(x) or size == 1
        found = evaluations(shares, shares.own(x), shares.own(v))
        rowwise = ("gradient", "hvp", "third")
        return {k: bits(shares.gather(y) if k in rowwise else y) for k, y in found.items()}

    def gathered(processes):
        found = evaluations(GatheredRisk(risk, processes), x, v)
        return {name: bits(value) for name, value in found.items()}

    for prepared in (spread, gathered):
        assert in_lockstep(size, prepared) == [expected] * size


@pytest.mark.parametrize("output_bias", [False, True])
@pytest.mark.parametrize("n_particles", [2, 40])  # 2: one of three processes has none
def test_gathered_particles_may_have_weights_and_gradients_be_elsewhere(n_particles, output_bias):
    risk, x, v = problem(n_particles, output_bias=output_bias)
    p = np.linspace(1, 2, n_particles) / np.linspace(1, 2, n_particles).sum()
    at = risk.network.initialize(3, seed=5)

    def prepared(risk):
        return [
            bits(value)
            for value in (
                risk.value(x, p),
                risk.gradient(x, p),
                risk.gradient(x, p, at=at),
                risk.gradient(x, at=at),
                risk.hvp(x, v, p),
                risk.third(x, v, p),
            )
        ]

    assert (
        in_lockstep(3, lambda processes: prepared(GatheredRisk(risk, processes)))
        == [prepared(risk)] * 3
    )


def test_arrays_with_axes_before_the_particles_are_cut_and_gathered():
    risk, x, v = problem(17)
    whole = np.stack([np.stack([x, v]), np.stack([v, x])])

    def prepared(processes):
        shares = SpreadRisk(risk, len(x), processes)
        own = shares.own(whole)
        assert own.shape == (2, 2, shares.rows.stop - shares.rows.start, x.shape[1])
        return bits(shares.gather(own))

    assert in_lockstep(3, prepared) == [bits(whole)] * 3


def test_norm_and_peak_are_those_of_all_particles():
    risk, x, _ = problem(17)
    x[0] *= 1e-200  # squares of one process's particles alone would underflow
    tiny, poisoned = 1e-180 * x, np.where(np.arange(17)[:, None] == 3, np.nan, x)

    def prepared(processes):
        shares = SpreadRisk(risk, len(x), processes)
        own = shares.own
        assert math.isnan(peak(shares, own(poisoned)))
        return [bits(norm(shares, own(x))), bits(norm(shares, own(tiny))), peak(shares, own(x))]

    expected = [bits(norm(risk, x)), bits(norm(risk, tiny)), peak(risk, x)]
    assert in_lockstep(3, prepared) == [expected] * 3


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("n_particles", [5, 17])  # the whole Hessian, and Lanczos' method
def test_eigenpairs_are_those_of_one_process(n_particles, k):
    risk, x, _ = problem(n_particles)
    expected = solvers.top_eigenpairs(risk, x, k)
    again = solvers.top_eigenpairs(risk, 0.99 * x, k, start=expected.vectors)

    def prepared(processes):
        shares = SpreadRisk(risk, len(x), processes)
        first = solvers.top_eigenpairs(shares, shares.own(x), k)
        second = solvers.top_eigenpairs(shares, shares.own(0.99 * x), k, start=first.vectors)
        return [
            (bits(p.values), bits(shares.gather(p.vectors)), bits(p.residuals), p.converged)
            for p in (first, second)
        ]

    one = [(bits(p.values), bits(p.vectors), bits(p.residuals), True) for p in (expected, again)]
    assert in_lockstep(3, prepared) == [one] * 3


# --- what is refused ---


def test_more_processes_than_groups_are_refused():
    for n_particles, size in ((2, 3), (1000, 17)):
        risk, _, _ = problem(n_particles)
        with pytest.raises(
            ValueError, match=f"n_particles must be .* {size} ranks, got {n_particles}"
        ):
            in_lockstep(size, lambda p, r=risk, n=n_particles: SpreadRisk(r, n, p))


def test_bad_arguments_of_a_share():
    risk, x, _ = problem(10)

    def prepared(processes):
        shares = SpreadRisk(risk, 10, processes)
        for bad, message in [
            (lambda: shares.value(x), "x must have the 5 particles of this rank, of 10, got 10"),
            (lambda: shares.own(x[1:]), r"whole must have shape \(…, 10, D\), got \(9, 4\)"),
            (
                lambda: shares.value(shares.own(x), np.full(5, 0.2)),
                "weights must be None for particles distributed over ranks",
            ),
        ]:
            with pytest.raises(ValueError, match=message):
                bad()

    in_lockstep(2, prepared)


def test_processes_that_do_not_hold_the_same_particles_are_found_out():
    risk, x, _ = problem(10)

    def prepared(processes, evaluate):
        other = x + (processes.rank == 1) * 1e-15
        with pytest.raises(RuntimeError, match="all ranks must hold the same particles"):
            evaluate(GatheredRisk(risk, processes), SpreadRisk(risk, 10, processes), other)

    for evaluate in (
        lambda gathered, spread, other: gathered.gradient(other),
        lambda gathered, spread, other: gathered.hvp(x, other),
        lambda gathered, spread, other: spread.own(other),
    ):
        in_lockstep(2, lambda processes, e=evaluate: prepared(processes, e))


@pytest.mark.parametrize("size", [2, 16])
def test_shares_are_whole_groups_and_cover_all_particles(size):
    for n in range(3841, 3860):
        risk, _, _ = problem(n)
        rows = in_lockstep(size, lambda p, r=risk, n=n: SpreadRisk(r, n, p).rows)
        assert rows[0].start == 0 and rows[-1].stop == n
        assert all(one.stop == two.start for one, two in itertools.pairwise(rows))
        assert {row.start for row in rows} <= set(_evaluation.group_bounds(n))
        most = -(-16 // size) * -(-n // 16)
        assert max(row.stop - row.start for row in rows) <= most
