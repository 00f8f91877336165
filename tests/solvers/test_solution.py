"""What `solve` returns: eigenvalues along the way, and the solution as a dataset."""

import sys

import numpy as np
import pytest

import solvers
from meanfield.landscapes import Valley
from tests.helpers.own_objects import Bowl

START = np.array([0.3, 0.4])


def solve(flow=None, **options):
    flow = flow or solvers.GradientDescent(0.3)
    return solvers.solve(flow, Valley(), START, **({"steps": 10} | options))


def hessian(x):
    return np.array([Valley().hvp(x, e) for e in np.eye(2)])


@pytest.mark.parametrize("flow", [solvers.GradientDescent(0.3), solvers.GradientFlow(0.3)])
def test_eigenvalues_are_those_of_the_whole_hessian(flow):
    solution = solve(flow, eigenvalues=2, eigenvalues_every=4)
    np.testing.assert_array_equal(solution.eigenvalue_times, [0, 4, 8, 10])
    expected = [np.linalg.eigvalsh(hessian(solution.centers[t]))[::-1] for t in (0, 4, 8, 10)]
    np.testing.assert_allclose(solution.eigenvalues, expected, rtol=1e-10)


def test_of_many_coordinates_the_largest():
    curvatures = np.linspace(0.1, 4.0, 60)
    solution = solvers.solve(
        solvers.GradientDescent(0.1),
        Bowl(curvatures),
        np.ones(60),
        steps=3,
        eigenvalues=2,
        eigenvalues_every=2,
    )
    np.testing.assert_array_equal(solution.eigenvalue_times, [0, 2, 3])
    np.testing.assert_allclose(solution.eigenvalues, np.tile(curvatures[:-3:-1], (3, 1)), rtol=1e-9)


def test_measuring_them_changes_nothing_else():
    plain, measured = solve(), solve(eigenvalues=1)
    assert plain.eigenvalues is None and plain.eigenvalue_times is None
    assert measured.eigenvalues.shape == (11, 1)
    np.testing.assert_array_equal(plain.centers, measured.centers)
    np.testing.assert_array_equal(plain.fluctuations, measured.fluctuations)
    assert "eigenvalue" not in repr(plain) and "eigenvalues=float64[11, 1]" in repr(measured)


def test_steps_that_pass_at_once_stop_where_they_are_measured(monkeypatch):
    monkeypatch.setattr(sys.modules["solvers.time_loop"], "_MANY_STEPS", 1)
    leapt = solve(steps=40, save_every=40, eigenvalues=1, eigenvalues_every=7)
    np.testing.assert_array_equal(leapt.eigenvalue_times, [0, 7, 14, 21, 28, 35, 40])
    monkeypatch.undo()
    stepped = solve(steps=40, eigenvalues=1, eigenvalues_every=7)
    np.testing.assert_array_equal(leapt.eigenvalues, stepped.eigenvalues)


def test_a_run_that_goes_on_measures_at_the_same_times():
    first = solve(steps=6, eigenvalues=1, eigenvalues_every=4)
    second = solvers.solve(
        solvers.GradientDescent(0.3),
        Valley(),
        first.state,
        steps=6,
        eigenvalues=1,
        eigenvalues_every=4,
    )
    np.testing.assert_array_equal(first.eigenvalue_times, [0, 4, 6])
    np.testing.assert_array_equal(second.eigenvalue_times, [6, 8, 12])


def test_a_divergence_keeps_those_before():
    solution = solve(solvers.GradientDescent(200.0), steps=1000, eigenvalues=1)
    assert solution.status == "diverged"
    assert len(solution.eigenvalues) == len(solution.eigenvalue_times) >= 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"eigenvalues": -1}, "eigenvalues must be an integer"),
        ({"eigenvalues": 1.5}, "eigenvalues must be an integer"),
        ({"eigenvalues": True}, "eigenvalues must be an integer"),
        ({"eigenvalues": 3}, "k must be"),
        ({"eigenvalues": 1, "eigenvalues_every": 0}, "eigenvalues_every must be an integer"),
    ],
)
def test_wrong_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        solve(**options)


# --- datasets ------------------------------------------------------------------------------------


def test_the_dataset_has_what_the_solution_has():
    xarray = pytest.importorskip("xarray")
    solution = solve(eigenvalues=2, eigenvalues_every=5)
    data = solution.to_xarray()
    assert isinstance(data, xarray.Dataset)
    assert data.center.dims == ("time", "parameter") and data.iterate.dims == data.center.dims
    np.testing.assert_array_equal(data.center.sel(time=4), solution.centers[4])
    np.testing.assert_array_equal(data.loss, solution.losses)
    np.testing.assert_array_equal(data.eigenvalues.sel(eig=1), solution.eigenvalues[:, 0])
    np.testing.assert_array_equal(data.eigenvalue_time, [0, 5, 10])
    assert data.attrs == {
        "status": "complete",
        "message": "",
        "flow": "GradientDescent(learning_rate=0.3)",
    }


def test_particles_and_modes_have_dimensions_of_their_own():
    pytest.importorskip("xarray")
    flow = solvers.FreeEnergyFlow(0.3, rank=2)
    data = solvers.solve(flow, Bowl(np.ones((4, 3))), np.ones((4, 3)), steps=2).to_xarray()
    assert data.center.dims == ("time", "particle", "parameter")
    assert data.fluctuation.dims == ("time", "mode", "particle", "parameter")
    assert "iterate" not in data and "eigenvalues" not in data
    data = solvers.solve(flow, Bowl(np.ones((2, 1, 2))), np.ones((2, 1, 2)), steps=1).to_xarray()
    assert data.center.dims == ("time", "x1", "x2", "x3")


def test_without_the_extra_it_says_which(monkeypatch):
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(ImportError, match=r"the extra `xarray`: pip install .*\[xarray\]"):
        solve().to_xarray()
