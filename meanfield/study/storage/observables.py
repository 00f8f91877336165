"""The list of observables of a process, from which files, readers and measurements take names and definitions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

FIRST = "0.1.0"  # the oldest version whose files can be read


@dataclass(frozen=True)
class Observable:
    """A number, or one per eigenvalue, at the times of a process.

    Parameters
    ----------
    name, long_name, units : str
        Of the variable in the file. It is measured at the center unless stated otherwise.
    since : str
        The first version whose files have it; in older files it is read as NaN.
    measure : callable
        The value at a step of a process, given as `meanfield.study.engine.moment.Moment`.
    when : {"step", "spectrum", "end"}
        At every step; with the spectrum, every ``output.sharpness_every`` steps; at every step, after everything else.
    per_eigenvalue : bool
        Whether it has a value for each of the ``output.eigenvalues``.
    of_iterates : bool
        Whether it exists only for flows with iterates.
    of_batches : bool
        Whether it exists only for flows whose steps are taken on batches of the samples.
    on_request : bool
        Whether it is measured only with ``output.<name> = true``.
    """

    name: str
    long_name: str
    units: str
    since: str
    measure: Callable[[Any], Any]
    when: Literal["step", "spectrum", "end"] = "step"
    per_eigenvalue: bool = False
    of_iterates: bool = False
    of_batches: bool = False
    on_request: bool = False

    @property
    def about(self) -> tuple[str, str]:
        """Long name and units."""
        return self.long_name, self.units

    @property
    def is_everywhere(self) -> bool:
        """Whether it is a scalar of every process."""
        return not (self.per_eigenvalue or self.of_iterates or self.of_batches or self.on_request)


def _of_step(
    name: str, long_name: str, attribute: str, since: str = FIRST, **options: Any
) -> Observable:
    """A function that reads an attribute of `solvers.Observation`."""
    return Observable(
        name, long_name, "1", since, lambda at: getattr(at.observation, attribute), **options
    )


def _of_counts(name: str, what: str) -> Observable:
    long_name = f"{what} evaluated by the process since its start"
    return Observable(name, long_name, "1", "0.2.0", lambda at: at.readings[name])


#: In the order of the file.
OBSERVABLES = (
    _of_step("train_loss", "risk, or the landscape's value", "loss"),
    _of_step("predicted_loss", "time-averaged risk that center and fluctuation predict", "predicted_loss"),
    Observable(
        "sharpness", "top eigenvalue of the mean-field Hessian", "1", FIRST,
        lambda at: at.pairs.values[0], "spectrum",
    ),
    Observable(
        "sharpness_residual", "residual of the top eigenpair", "1", "0.2.0",
        lambda at: at.pairs.residuals[0], "spectrum",
    ),
    Observable(
        "effective_sharpness", "top eigenvalue of the preconditioned Hessian over its threshold, 1 at the edge of stability",
        "1", "0.2.0", lambda at: at.effective_sharpness, "spectrum",
    ),
    _of_step("free_energy", "free energy of center and fluctuation", "free_energy"),
    _of_step("dissipated", "change of the free energy since time 0 by its rate along the flow", "dissipated", "0.2.0"),
    _of_step("sigma_trace", "trace of the covariance of the fluctuation", "fluctuation_trace"),
    _of_step("grad_norm_sq", "squared norm of the mean-field gradient", "gradient_norm_sq", when="spectrum"),
    _of_counts("gradients", "gradients"),
    _of_counts("hvps", "Hessian-vector products"),
    _of_counts("thirds", "third derivatives"),
    Observable(
        "solver_time", "time on the clock since the process started, without measurements", "s", "0.2.0",
        lambda at: at.readings["solver_time"],
    ),
    Observable(
        "wall_time", "time on the clock since the process started", "s", "0.2.0", lambda at: at.wall_time, "end",
    ),
    _of_step("iterate_loss", "risk at the iterate of gradient descent", "iterate_loss", of_iterates=True),
    Observable(
        "iterate_sharpness", "top eigenvalue of the mean-field Hessian at the iterate", "1", "0.2.0",
        lambda at: at.iterate_pair.values[0], "spectrum", of_iterates=True, on_request=True,
    ),
    Observable(
        "batch_sharpness", "curvature of batches along their own gradients, at the iterate", "1", "0.2.0",
        lambda at: at.batch_sharpness, "spectrum", of_batches=True,
    ),
    Observable(
        "hessian_eigs", "largest eigenvalues of the mean-field Hessian", "1", FIRST,
        lambda at: at.pairs.values, "spectrum", per_eigenvalue=True,
    ),
    Observable(
        "hessian_residuals", "residuals of their eigenpairs, NaN where one did not converge", "1", "0.2.0",
        lambda at: at.pairs.residuals, "spectrum", per_eigenvalue=True,
    ),
)  # fmt: skip

EVERYWHERE = {one.name: one for one in OBSERVABLES if one.is_everywhere}
#: Observables that older files may lack; they are read as NaN.
NEWER = {one.name for one in OBSERVABLES if one.since != FIRST}
#: The observable that every process with iterates has, and no other.
OF_ITERATES = next(one.name for one in OBSERVABLES if one.of_iterates and not one.on_request)
