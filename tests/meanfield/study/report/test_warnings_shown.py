"""Eigenvalues that did not converge: NaN, with a residual beside each, and said to the reader."""

import h5py
import numpy as np

import solvers
from meanfield.study.analysis.summary import spectrum_warnings
from meanfield.study.config.run_config import load
from meanfield.study.engine.run import run
from meanfield.study.storage.writer import read_run


def test_every_eigenvalue_has_its_residual(small_run):
    with h5py.File(small_run) as file:
        group = file["gradient_descent/observables"]
        eigenvalues, residuals = group["hessian_eigs"][:], group["hessian_residuals"][:]
        assert residuals.shape == eigenvalues.shape and residuals.shape[1] == 2
        np.testing.assert_array_equal(residuals[:, 0], group["sharpness_residual"][:])
        measured = np.isfinite(eigenvalues)
        assert measured.any() and np.all(
            residuals[measured] <= 1e-6 * np.abs(eigenvalues[measured])
        )
        assert list(group["hessian_residuals"].dims[1][0][:]) == [1, 2]
    assert spectrum_warnings(read_run(small_run)) == []


def test_what_did_not_converge_is_said(tmp_path, monkeypatch, small):
    exact = solvers.top_eigenpairs

    def second_is_lost(*arguments, **options):
        pairs = exact(*arguments, **options)
        values, residuals = pairs.values.copy(), pairs.residuals.copy()
        values[1] = residuals[1] = np.nan
        return solvers.spectrum.Eigenpairs(values, pairs.vectors, residuals, False)

    monkeypatch.setattr(solvers, "top_eigenpairs", second_is_lost)
    record = read_run(run(load(None, small), tmp_path))
    said = spectrum_warnings(record)
    assert len(said) == 3 and said[0].startswith(
        "gradient_descent: at 3 of 3 times not all eigenvalues"
    )
    assert np.isfinite(record.processes["gradient_descent"].observables["sharpness"][0])


def test_a_solver_that_gives_up_leaves_no_number(tmp_path, monkeypatch, small):
    """With three products only the Lanczos method itself cannot find two eigenvalues."""
    monkeypatch.setattr(solvers.spectrum.eigenpairs, "_DENSE_SIZE", 0)
    monkeypatch.setattr(solvers.spectrum.eigenpairs, "_MAX_PRODUCTS", 3)
    path = run(load(None, small), tmp_path)
    with h5py.File(path) as file:
        for name in ("gradient_descent", "gradient_flow", "free_energy_flow"):
            group = file[f"{name}/observables"]
            values, residuals = group["hessian_eigs"][:], group["hessian_residuals"][:]
            at = np.isfinite(group["grad_norm_sq"][:])
            assert at.any() and np.isnan(values[at]).any(axis=1).all()
            np.testing.assert_array_equal(np.isnan(values), np.isnan(residuals))
    assert len(spectrum_warnings(read_run(path))) == 3
