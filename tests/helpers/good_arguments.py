"""Arguments that are good for every public function and constructor.

`CALLS` says for each name what is called and with what; `NOT_WALKED` why some names are not called.
"""

from numbers import Real

import numpy as np

import meanfield
import solvers
from meanfield import initializers, landscapes, tasks
from solvers import transport
from solvers.measures import energies, entropy

VALLEY = landscapes.Valley()
START = [0.1, 6.0]
NETWORK = meanfield.TwoLayerNetwork(1)
TASK = tasks.Task([[0.5], [-0.5]], [1.0, -1.0])
RISK = meanfield.Risk(NETWORK, TASK)
X = [[0.0], [1.0], [3.0]]
WEIGHTS = [0.25, 0.25, 0.5]
V = energies.Potential(lambda x: 0.5 * x[:, 0] ** 2)
GRID = solvers.Grid([0.0, 1.0, 2.0, 3.0], [0.25, 0.5, 0.25])
STEP = solvers.GridJKO(0.1).step(V, GRID)
SGD = solvers.MiniBatch(solvers.GradientDescent(0.1), batch_size=2)
SGD_STATE = solvers.solve(SGD, RISK, NETWORK.initialize(3, seed=0), 1).state
STATE = solvers.solve(solvers.GradientDescent(0.1), VALLEY, START, 1).state


def of(module, names):
    return {f"{module.__name__}.{name}": (getattr(module, name), kwargs) for name, kwargs in names}


RATE = {"learning_rate": 0.1}
MEANS = {"beta2": 0.99, "eps": 1e-8, "bias_correction": True}
#: name: what is called, and arguments that are good
CALLS = {
    **of(
        solvers,
        [
            ("GradientDescent", RATE),
            ("NormalizedGradientDescent", RATE),
            ("SqrtLossGradientDescent", RATE | {"minimum": 0.0}),
            ("GradientFlow", RATE | {"delay": True}),
            (
                "FreeEnergyFlow",
                RATE
                | {"closure": "endpoint", "growth": "linear", "rank": 1, "delay": False, "seed": 0}
                | {"fluctuation_floor": 0.0},
            ),
            ("RodFlow", RATE | {"rank": 2}),
            ("EdgeFlow", RATE),
            ("CentralFlow", RATE | {"max_modes": 2}),
            ("HeavyBall", RATE | {"momentum": 0.9}),
            ("Nesterov", RATE | {"momentum": 0.9}),
            ("RMSProp", RATE | MEANS | {"second_moment": 0.0}),
            ("ScalarRMSProp", RATE | MEANS | {"second_moment": 0.0}),
            ("Adam", RATE | MEANS | {"beta1": 0.9}),
            (
                "effective_sharpness",
                {"flow": solvers.GradientDescent(0.1), "objective": VALLEY, "state": STATE}
                | {"pairs": None},
            ),
            (
                "MiniBatch",
                {"flow": solvers.GradientDescent(0.1), "batch_size": 2, "seed": 0}
                | {"replacement": True},
            ),
            (
                "batch_sharpness",
                {"flow": SGD, "objective": RISK, "state": SGD_STATE, "batches": 2},
            ),
            ("SharpnessFlow", RATE | {"law": "normalized"}),
            ("JKOFlow", RATE | {"temperature": 0.0, "saddle": False, "order": 2}),
            ("PhaseSpaceFlow", RATE | {"temperature": 0.0, "cells": (4, 4), "max_cells": 64}),
            (
                "PhaseSpacePDE",
                RATE
                | {"temperature": 0.0, "cells": (4, 4), "domain": ((-1, 1), (-1, 1))}
                | {"max_cells": 64, "limiter": "mc", "cfl": 0.9, "outflow_tolerance": 1e-9},
            ),
            (
                "Langevin",
                RATE | {"temperature": 0.1, "seed": 0, "steps_per_iteration": 1, "entropy": None},
            ),
            ("Schedule", {"learning_rate": [[0, 0.1], [3, 0.2]]}),
            (
                "Scheduled",
                {"flow": solvers.GradientDescent(0.1), "learning_rate": [[0, 0.1], [3, 0.2]]},
            ),
            ("Adaptive", {"rtol": 1e-6, "atol": 1e-6, "max_steps": 10}),
            ("RKC", {"rtol": 1e-3, "max_steps": 10}),
            ("ROCK4", {"rtol": 1e-3, "max_steps": 10}),
            ("Chebyshev", {"rtol": 1e-3, "max_steps": 10}),
            (
                "JKO",
                RATE
                | {"step_size": 0.1, "temperature": 0.0, "saddle": False, "entropy": None}
                | {"inner": None, "tol": 1e-8, "max_iterations": 10, "max_plans": 5}
                | {"max_plan_iterations": 100, "max_halvings": 1, "require_convergence": True},
            ),
            (
                "GridJKO",
                RATE
                | {"step_size": 0.1, "regularization": None, "debias": True, "tolerance": 1e-9}
                | {"max_iterations": 10, "require_convergence": True, "method": "entropic"},
            ),
            (
                "QuantileJKO",
                RATE
                | {"step_size": 0.1, "tolerance": 1e-9, "max_iterations": 9}
                | {"require_convergence": True},
            ),
            ("FreeEnergy", RATE | {"objective": VALLEY, "closure": "endpoint"}),
            ("BlobEntropy", {"bandwidth": 0.1}),
            ("SpacingEntropy", {"independent_draws": False}),
            ("Particles", {"positions": X, "weights": WEIGHTS}),
            ("Grid", {"edges": [0.0, 1.0, 2.0], "masses": [0.5, 0.5]}),
            ("Quantiles", {"values": [0.0, 1.0]}),
            (
                "PhaseSpaceDensity",
                {"theta_edges": range(5), "u_edges": range(5), "masses": np.full((4, 4), 1 / 16)},
            ),
            (
                "State",
                {"step": 0, "values": [1.0], "dissipated": 0.0, "flow": None, "objective": None},
            ),
            (
                "solve",
                {"flow": solvers.GradientDescent(0.1), "objective": VALLEY, "x0": START}
                | {"steps": 2, "save_every": 1, "dt": None, "integrator": None}
                | {"progress": False, "observe": None},
            ),
            (
                "top_eigenpairs",
                {"objective": VALLEY, "x": START, "k": 1, "tol": 1e-6, "start": None},
            ),
            ("solve_complementarity", {"a": [[-1.0]], "operator": [[[[1.0]]]]}),
            (
                "mean_field_langevin_free_energy",
                {"objective": V, "x": X, "temperature": 0.1, "entropy": None},
            ),
        ],
    ),
    **of(
        energies,
        [
            ("Potential", {"function": len, "gradient": None, "hessian": None}),
            ("Interaction", {"function": len, "gradient": None, "hessian": None}),
            ("Entropy", {"temperature": 1.0}),
            ("PowerEntropy", {"exponent": 2.0, "coefficient": 1.0}),
            ("Functional", {"value": len, "first_variation": len}),
            ("Congestion", {"bound": 1.0}),
            ("Domain", {"inside": len}),
        ],
    ),
    **of(
        entropy,
        [
            ("estimator", {"x": X, "bandwidth": 0.1, "weights": WEIGHTS}),
            ("reference_bandwidth", {"x": X, "weights": WEIGHTS}),
        ],
    ),
    **of(
        transport,
        [
            (
                "w2",
                {"x": X, "y": X[:2], "a": WEIGHTS, "b": [0.5, 0.5], "method": "exact"}
                | {"max_iterations": None, "require_convergence": True, "lazy": False}
                | {"projections": 4, "seed": 0, "regularization": None, "tolerance": 1e-5}
                | {"max_bytes": 2**20, "progress": False},
            ),
            ("coupled_distance", {"x": X, "y": X}),
            ("estimate", {"n": 3, "m": 3, "dimension": 1, "method": "exact", "lazy": False}),
        ],
    ),
    **of(
        meanfield,
        [
            (
                "Risk",
                {"network": NETWORK, "task": TASK, "loss": "squared", "weight_decay": 0.0}
                | {"dtype": "float64"},
            ),
            (
                "TwoLayerNetwork",
                {"input_dim": 1, "output_dim": 1, "activation": "tanh", "bias": True}
                | {"train_output": True, "output_bias": False},
            ),
        ],
    ),
    **of(
        landscapes,
        [
            ("Valley", {"zeta": 1.0, "epsilon": 0.01}),
            (
                "RiverValley",
                {"codimension": 2, "zeta": 1.0, "epsilon": 0.01, "gap": 0.5, "coupling": 1.0},
            ),
            ("Quartic", {"curvature": 1.0, "quartic": 1.0}),
            ("Rosenbrock", {"a": 1.0, "b": 1.0}),
            ("ScalarFactorization", {"depth": 2, "target": 1.0}),
            ("LogCoshProduct", {"depth": 2, "target": 1.0}),
            ("MatrixFactorization", {"target": [[1.0]], "depth": 2}),
            ("LinearNeurons", {"width": 2}),
            (
                "Landscape",
                {"function": len, "dimension": 2, "minimum": 0.0, "derivatives": "complex"},
            ),
            ("Sum", {"first": VALLEY, "second": VALLEY}),
            ("Scaled", {"landscape": VALLEY, "factor": 2.0}),
            ("Shifted", {"landscape": VALLEY, "offset": (0.1, 0.2)}),
        ],
    ),
    **of(
        tasks,
        [
            ("Task", {"inputs": [[1.0], [2.0]], "targets": [1.0, 2.0], "name": "data"}),
            ("digits", {"n": 2, "target": "parity", "mean_square": 1.0, "seed": 0}),
            ("noisy_digits", {"n": 2, "target": "parity", "fraction": 0.1, "seed": 0}),
            ("label_noise", {"task": TASK, "fraction": 0.5, "seed": 0}),
            (
                "teacher_student",
                {"n": 2, "input_dim": 2, "teacher_width": 2, "activation": "tanh", "noise": 0.0}
                | {"seed": 0},
            ),
            ("from_npz", {"path": "no such file.npz"}),
            (
                "cifar10",
                {"path": "no such folder", "n": 2, "classes": ("cat", "dog"), "target": "one_hot"}
                | {"mean_square": 1.0, "seed": 0, "train": True},
            ),
        ],
    ),
    **of(
        initializers,
        [
            ("Normal", {"output_scale": 1.0, "input_scale": 0.5, "bias_scale": 0.0}),
            ("Uniform", {"output_scale": 1.0, "input_scale": 0.5, "bias_scale": 0.0}),
            ("Npz", {"path": "no such file.npz"}),
        ],
    ),
    "SelfStabilization.from_objective": (
        solvers.SelfStabilization.from_objective,
        {"objective": VALLEY, "x": START, "learning_rate": 0.1, "modes": 1},
    ),
    "Quantiles.of": (solvers.Quantiles.of, {"measure": GRID, "cells": 2}),
    "Grid.from_density": (
        solvers.Grid.from_density,
        {"edges": [0.0, 1.0], "function": lambda x: 1 + 0 * x[:, 0], "nodes": 2},
    ),
    "solvers.evolve": (
        solvers.evolve,
        RATE
        | {"energy": V, "measure": X, "t": 0.2, "step_size": 0.1, "order": 2, "tolerance": None}
        | {"scheme": None, "save_every": 1, "progress": False, "observe": None},
    ),
    "GridJKO.step": (
        solvers.GridJKO(0.1).step,
        {"energy": V, "grid": STEP.state, "earlier": STEP, "earlier_step_size": 0.1},
    ),
    "QuantileJKO.step": (
        solvers.QuantileJKO(0.1).step,
        {"energy": V, "quantiles": solvers.Quantiles([0.0, 1.0])}
        | {"earlier": solvers.Quantiles([0.0, 1.5]), "earlier_step_size": 0.1},
    ),
    "JKO.step": (
        solvers.JKO(0.1).step,
        {"objective": V, "state": X, "weights": WEIGHTS, "guess": None, "guess_weights": None}
        | {"earlier": None, "earlier_step_size": None},
    ),
    "FreeEnergy.value": (
        solvers.FreeEnergy(VALLEY, 0.1).value,
        {"center": START, "fluctuation": [0.1, 0.1]},
    ),
    "FreeEnergy.gradient": (
        solvers.FreeEnergy(VALLEY, 0.1).gradient,
        {"center": START, "fluctuation": [0.1, 0.1]},
    ),
    "BlobEntropy.gradient": (solvers.BlobEntropy(0.1).gradient, {"x": X, "weights": WEIGHTS}),
    "SpacingEntropy.hvp": (solvers.SpacingEntropy().hvp, {"x": X, "v": X, "weights": WEIGHTS}),
    "Potential.gradient": (V.gradient, {"x": X, "weights": WEIGHTS, "at": X}),
    "Potential.hvp": (V.hvp, {"x": X, "v": X, "weights": WEIGHTS}),
    "Valley.hvp": (VALLEY.hvp, {"x": START, "v": START}),
    "Valley.shifted": (VALLEY.shifted, {"offset": START}),
    "Network.initialize": (
        NETWORK.initialize,
        {"n_particles": 2, "seed": 0, "dtype": "float64", "init": initializers.Uniform()},
    ),
    "Network.forward": (NETWORK.forward, {"particles": np.ones((2, 3)), "inputs": [[1.0]]}),
    "Risk.gradient": (RISK.gradient, {"x": np.ones((2, 3)), "weights": [0.5, 0.5], "at": None}),
    "Risk.hvp": (RISK.hvp, {"x": np.ones((2, 3)), "v": np.ones((2, 3)), "weights": None}),
    "Risk.inner": (RISK.inner, {"u": np.ones((2, 3)), "v": np.ones((2, 3))}),
    "meanfield.RunConfig": (
        meanfield.RunConfig,
        {"learning_rate": 0.5, "steps": 3, "seed": 0, "network": {}, "processes": {"rod_flow": {}}},
    ),
    "Result.open": (meanfield.Result.open, {"path": "no such run"}),
}

NOT_WALKED = {
    **dict.fromkeys(
        ["Flow", "ContinuousFlow", "DiscreteFlow", "Optimizer", "SteppedFlow"], "to derive from"
    ),
    "WithoutFluctuation": "to derive from",
    **dict.fromkeys(["Integrator", "Objective", "Energy", "Initializer"], "to derive from"),
    **dict.fromkeys(["FiniteDimensional", "Reference"], "to derive from"),
    **dict.fromkeys(["Euler", "Midpoint", "RK4", "DegreeFour", "VaryingTrough"], "no arguments"),
    **dict.fromkeys(
        ["Complementarity", "Eigenpairs", "Evolution", "GridStep", "JKOStep"], "a result"
    ),
    **dict.fromkeys(["QuantileStep", "Solution", "Observation", "PhaseSpaceReport"], "a result"),
    **dict.fromkeys(["TransportResult", "TransportError", "JKOError"], "a result or an error"),
    **dict.fromkeys(
        ["energies", "transport", "initializers", "landscapes", "tasks"],
        "modules, walked on their own",
    ),
    **dict.fromkeys(["LANDSCAPES", "METHODS", "MAX_BYTES"], "constants"),
    "register": "tests/solvers/support/test_annotations.py",
    "SelfStabilization": "made by its from_objective",
    "Result": "made by its open",
    **dict.fromkeys(["StudyRecord", "SweepResult"], "made by width_study and sweep"),
    **dict.fromkeys(
        ["run", "resume", "extend", "load", "sweep", "width_study"],
        "they write files: test_facade.py",
    ),
    "TorchObjective": "tests/meanfield/torch_objective/test_torch_objective_module.py",
    "check_objective": "tests of its own: it runs what it is given",
}

#: which together ask for hours of work, rightly
LONG = [{"t", "step_size"}, {"steps", "save_every"}, {"steps", "dt"}, {"projections", "max_bytes"}]


def asks_for_hours(changed, arguments):
    """Whether a call with these changes of good arguments would take them, rightly."""
    t, step_size = arguments.get("t"), arguments.get("step_size")
    if any(pair <= changed.keys() for pair in LONG):
        return True
    if not isinstance(t, Real) or not isinstance(step_size, Real):
        return False
    if isinstance(step_size, np.integer):
        step_size = int(step_size)  # without overflow
    return 0 < 100 * step_size < t <= 1e9 * step_size  # more steps are refused


# by what a call may end besides a result: these are documented
DOCUMENTED = {
    "solvers.solve_complementarity": ArithmeticError,
    "JKO.step": (solvers.JKOError, transport.TransportError),
    "solvers.evolve": transport.TransportError,
    "GridJKO.step": solvers.JKOError,
    "QuantileJKO.step": solvers.JKOError,
    "solvers.transport.w2": transport.TransportError,
}
