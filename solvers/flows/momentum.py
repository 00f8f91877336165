"""Gradient descent with momentum, Polyak's and Nesterov's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from solvers._support.annotations import Interval
from solvers.flow import Flow
from solvers.objective import Array
from solvers.optimizer import Optimizer

Beta = Annotated[float, Interval(ge=0, lt=1)]


class _Momentum(Optimizer):
    """Gradient descent that remembers m, a sum of past gradients."""

    memories: ClassVar[int] = 1
    is_linear: ClassVar[bool] = True

    def central_flow(self, *arguments: Any, **options: Any) -> Flow:
        from solvers.flows.momentum_central_flow import MomentumCentralFlow

        return MomentumCentralFlow(self, *arguments, **options)

    def rod_flow(self, *arguments: Any, **options: Any) -> Flow:
        from solvers.flows.optimizer_rod_flow import OptimizerRodFlow

        return OptimizerRodFlow(self, *arguments, **options)


@dataclass(frozen=True)
class HeavyBall(_Momentum):
    """Gradient descent with momentum, the heavy ball: m_{k+1} = βm_k + ∇E(x_k), x_{k+1} = x_k − η m_{k+1}.

    The conventions are those of ``torch.optim.SGD(lr=η, momentum=β)``. On a quadratic it oscillates where the curvature
    exceeds S = 2(1 + β)/η. Center and fluctuation are those of `Optimizer`.

    Parameters
    ----------
    learning_rate : float
        η > 0.
    momentum : float
        β, at least 0 and below 1; 0 is gradient descent.

    Raises
    ------
    ValueError
        For a parameter out of its range.

    References
    ----------
    Polyak, "Some methods of speeding up the convergence of iteration methods", 1964; the edge of stability with momentum:
    Cohen, Kaur, Li, Kolter, Talwalkar, arXiv:2103.00065.

    Examples
    --------
    On E = ½x² with η = 1 and β = ½ the first two steps are m_1 = 1, x_1 = 0 and m_2 = ½, x_2 = −½:

    >>> import numpy as np, solvers
    >>> class Quadratic:
    ...     def value(self, x): return 0.5 * float(x @ x)
    ...     def gradient(self, x): return x
    ...     def hvp(self, x, v): return v
    >>> solution = solvers.solve(solvers.HeavyBall(1.0, momentum=0.5), Quadratic(), np.array([1.0]), steps=2)
    >>> solution.iterates.ravel().tolist()
    [1.0, 0.0, -0.5]
    """

    learning_rate: float
    momentum: Beta = 0.9

    def change(self, objective: Any, step: float, z: Array) -> Array:
        x, m = z
        scalar = z.dtype.type
        g = objective.gradient(x)
        following = scalar(self.momentum) * m + g
        return np.stack([-scalar(self.learning_rate) * following, following - m])

    @property
    def edge(self) -> float:
        return 2.0 * (1.0 + self.momentum)


@dataclass(frozen=True)
class Nesterov(_Momentum):
    """Gradient descent with Nesterov's momentum: m_{k+1} = βm_k + g, x_{k+1} = x_k − η (g + βm_{k+1}), g = ∇E(x_k).

    The conventions are those of ``torch.optim.SGD(lr=η, momentum=β, nesterov=True)``. On a quadratic it oscillates where the
    curvature exceeds S = 2(1 + β)/((1 + 2β)η). Center and fluctuation are those of `Optimizer`.

    Parameters
    ----------
    learning_rate : float
        η > 0.
    momentum : float
        β, at least 0 and below 1; 0 is gradient descent.

    Raises
    ------
    ValueError
        For a parameter out of its range.

    References
    ----------
    Sutskever, Martens, Dahl, Hinton, "On the importance of initialization and momentum in deep learning", 2013; the edge of
    stability with momentum: Cohen, Kaur, Li, Kolter, Talwalkar, arXiv:2103.00065.

    Examples
    --------
    On E = ½x² with η = 1 and β = ½: m_1 = 1, x_1 = 1 − (1 + ½) = −½.

    >>> import numpy as np, solvers
    >>> class Quadratic:
    ...     def value(self, x): return 0.5 * float(x @ x)
    ...     def gradient(self, x): return x
    ...     def hvp(self, x, v): return v
    >>> solution = solvers.solve(solvers.Nesterov(1.0, momentum=0.5), Quadratic(), np.array([1.0]), steps=1)
    >>> solution.iterates.ravel().tolist()
    [1.0, -0.5]
    """

    learning_rate: float
    momentum: Beta = 0.9

    def change(self, objective: Any, step: float, z: Array) -> Array:
        x, m = z
        scalar = z.dtype.type
        g = objective.gradient(x)
        following = scalar(self.momentum) * m + g
        ahead = g + scalar(self.momentum) * following
        return np.stack([-scalar(self.learning_rate) * ahead, following - m])

    @property
    def edge(self) -> float:
        return 2.0 * (1.0 + self.momentum) / (1.0 + 2.0 * self.momentum)
