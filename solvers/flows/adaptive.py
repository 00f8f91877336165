"""Optimizers that divide the gradient by the root of a mean of its squares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from solvers._support.annotations import Ge, Interval
from solvers.flow import Flow
from solvers.objective import Array, inner
from solvers.optimizer import Optimizer

Beta = Annotated[float, Interval(ge=0, lt=1)]
NotNegative = Annotated[float, Ge(0)]


class _Adaptive(Optimizer):
    """A rule whose memory ends with ν, a mean of squared gradients; the step is divided by √ν̂ + ε."""

    learning_rate: float
    beta2: float
    eps: float
    bias_correction: bool

    has_squares: ClassVar[bool] = True

    def preconditioner(self, step: int, state: Array) -> Array:
        """(√ν̂_{k+1} + ε)/η (*x), of the step from x_k."""
        return self._root(step, state[1, -1]) / state.dtype.type(self.learning_rate)

    def squares(self, objective: Any, g: Array) -> Array:
        """What ν is the mean of, of a gradient g (*x)."""
        squares: Array = g * g
        return squares

    def weight(self, beta: float, step: float) -> float:
        """The weight of the data in a mean after the step from x_k, by which it is divided: 1 − β^{k+1} with bias correction."""
        return 1.0 - beta ** (step + 1) if self.bias_correction else 1.0

    def central_flow(self, *arguments: Any, **options: Any) -> Flow:
        from solvers.flows.adaptive_central_flow import AdaptiveCentralFlow

        return AdaptiveCentralFlow(self, *arguments, **options)

    def rod_flow(self, *arguments: Any, **options: Any) -> Flow:
        from solvers.flows.adaptive_rod_flow import AdaptiveRodFlow

        return AdaptiveRodFlow(self, *arguments, **options)

    def _renewed(self, mean: Array, beta: float, value: Array) -> Array:
        """βmean + (1 − β) value."""
        scalar = mean.dtype.type
        renewed: Array = scalar(beta) * mean + scalar(1.0 - beta) * value
        return renewed

    def _root(self, step: float, nu: Array) -> Array:
        """√ν̂ + ε at step k, ν̂ = ν/(1 − β₂^{k+1}) with bias correction; a model's ν may fall below 0, where it counts as 0."""
        scalar = nu.dtype.type
        root: Array = np.sqrt(np.maximum(nu, 0)) / scalar(self.weight(self.beta2, step) ** 0.5)
        return root + scalar(self.eps)


def _quotient(g: Array, root: Array) -> Array:
    """g/root, and 0 where both vanish, as no gradient has been seen there."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((root == 0) & (g == 0), root.dtype.type(0), g / root)


class _MeanOfSquares(_Adaptive):
    """A rule that remembers ν only, and moves along the gradient."""

    second_moment: float

    memories: ClassVar[int] = 1

    def memory(self, x0: Array) -> Sequence[Array]:
        return [np.full_like(x0, self.second_moment)]

    def change(self, objective: Any, step: float, z: Array) -> Array:
        x, nu = z
        g = objective.gradient(x)
        following = self._renewed(np.maximum(nu, 0), self.beta2, self.squares(objective, g))
        direction = _quotient(g, self._root(step, following))
        return np.stack([-z.dtype.type(self.learning_rate) * direction, following - nu])


@dataclass(frozen=True)
class RMSProp(_MeanOfSquares):
    """RMSProp: ν_{k+1} = β₂ν_k + (1 − β₂) g², x_{k+1} = x_k − η g/(√ν_{k+1} + ε), entry by entry, g = ∇E(x_k).

    The conventions are those of ``torch.optim.RMSprop(lr=η, alpha=β₂, eps=ε)``, with `bias_correction` those of
    ``torch.optim.Adam(betas=(0, β₂))``. It oscillates where the top eigenvalue of P⁻¹H exceeds 2, with P = diag(√ν + ε)/η.
    Center and fluctuation are those of `Optimizer`.

    Parameters
    ----------
    learning_rate : float
        η > 0.
    beta2 : float
        β₂, at least 0 and below 1.
    eps : float
        ε ≥ 0.
    bias_correction : bool
        Whether ν_{k+1} is divided by 1 − β₂^{k+1}.
    second_moment : float
        ν_0 ≥ 0, of every entry.

    Raises
    ------
    ValueError
        For a parameter out of its range.

    References
    ----------
    Tieleman, Hinton, "Lecture 6.5: RMSProp", 2012; its edge of stability: Cohen et al., arXiv:2207.14484, arXiv:2410.24206.

    Examples
    --------
    With β₂ = 0 and ε = 0 every step has the length η, in the direction of the gradient's signs:

    >>> import numpy as np, solvers
    >>> class Quadratic:
    ...     def value(self, x): return 0.5 * float(x @ x)
    ...     def gradient(self, x): return x
    ...     def hvp(self, x, v): return v
    >>> flow = solvers.RMSProp(0.25, beta2=0.0, eps=0.0)
    >>> solvers.solve(flow, Quadratic(), np.array([1.0, -4.0]), steps=1).iterates[1].tolist()
    [0.75, -3.75]
    """

    learning_rate: float
    beta2: Beta = 0.99
    eps: NotNegative = 1e-8
    bias_correction: bool = False
    second_moment: NotNegative = 0.0

    name: ClassVar[str] = "rmsprop"


@dataclass(frozen=True)
class ScalarRMSProp(_MeanOfSquares):
    """RMSProp with one mean for all entries: ν_{k+1} = β₂ν_k + (1 − β₂) |g|², x_{k+1} = x_k − η g/(√ν_{k+1} + ε).

    g = ∇E(x_k), and |·| is the objective's norm. It oscillates where the sharpness S satisfies ηS/(√ν + ε) > 2. Center and
    fluctuation are those of `Optimizer`; ν is kept in an array of the shape of x, all entries equal.

    Parameters
    ----------
    learning_rate : float
        η > 0.
    beta2 : float
        β₂, at least 0 and below 1.
    eps : float
        ε ≥ 0.
    bias_correction : bool
        Whether ν_{k+1} is divided by 1 − β₂^{k+1}.
    second_moment : float
        ν_0 ≥ 0.

    Raises
    ------
    ValueError
        For a parameter out of its range.

    References
    ----------
    Cohen, Damian, Talwalkar, Kolter, Lee, arXiv:2410.24206.

    Examples
    --------
    With β₂ = 0 and ε = 0 it is normalised gradient descent, with steps of the length η:

    >>> import numpy as np, solvers
    >>> class Quadratic:
    ...     def value(self, x): return 0.5 * float(x @ x)
    ...     def gradient(self, x): return x
    ...     def hvp(self, x, v): return v
    >>> flow = solvers.ScalarRMSProp(1.0, beta2=0.0, eps=0.0)
    >>> solvers.solve(flow, Quadratic(), np.array([3.0, -4.0]), steps=1).iterates[1].round(12).tolist()
    [2.4, -3.2]
    """

    learning_rate: float
    beta2: Beta = 0.99
    eps: NotNegative = 0.0
    bias_correction: bool = False
    second_moment: NotNegative = 0.0

    name: ClassVar[str] = "scalar_rmsprop"

    def squares(self, objective: Any, g: Array) -> Array:
        """|g|², in every entry."""
        return np.full_like(g, inner(objective, g, g))


@dataclass(frozen=True)
class Adam(_Adaptive):
    """Adam: m_{k+1} = β₁m_k + (1 − β₁) g, ν_{k+1} = β₂ν_k + (1 − β₂) g², x_{k+1} = x_k − η m̂_{k+1}/(√ν̂_{k+1} + ε).

    g = ∇E(x_k); with `bias_correction` m̂ = m/(1 − β₁^{k+1}) and ν̂ = ν/(1 − β₂^{k+1}), the conventions of
    ``torch.optim.Adam``, else m̂ = m and ν̂ = ν. It oscillates where the top eigenvalue of P⁻¹H exceeds
    2(1 + β₁)/(1 − β₁), with P = (1 − β₁^{k+1}) diag(√ν̂ + ε)/η. Center and fluctuation are those of `Optimizer`.

    Parameters
    ----------
    learning_rate : float
        η > 0.
    beta1, beta2 : float
        β₁ and β₂, at least 0 and below 1.
    eps : float
        ε ≥ 0.
    bias_correction : bool
        Whether the means are divided by their weights.

    Raises
    ------
    ValueError
        For a parameter out of its range.

    References
    ----------
    Kingma, Ba, arXiv:1412.6980; its edge of stability: Cohen et al., arXiv:2207.14484.

    Examples
    --------
    With bias correction and ε = 0 the first step has the length η in every coordinate:

    >>> import numpy as np, solvers
    >>> class Quadratic:
    ...     def value(self, x): return 0.5 * float(x @ x)
    ...     def gradient(self, x): return x
    ...     def hvp(self, x, v): return v
    >>> flow = solvers.Adam(0.25, eps=0.0)
    >>> solvers.solve(flow, Quadratic(), np.array([1.0, -4.0]), steps=1).iterates[1].round(12).tolist()
    [0.75, -3.75]
    """

    learning_rate: float
    beta1: Beta = 0.9
    beta2: Beta = 0.999
    eps: NotNegative = 1e-8
    bias_correction: bool = True

    memories: ClassVar[int] = 2

    def change(self, objective: Any, step: float, z: Array) -> Array:
        x, m, nu = z
        g = objective.gradient(x)
        mean, squares = (
            self._renewed(m, self.beta1, g),
            self._renewed(np.maximum(nu, 0), self.beta2, g * g),
        )
        rate = z.dtype.type(self.learning_rate / self.weight(self.beta1, step))
        moved = -rate * _quotient(mean, self._root(step, squares))
        return np.stack([moved, mean - m, squares - nu])

    def preconditioner(self, step: int, state: Array) -> Array:
        """(1 − β₁^{k+1}) (√ν̂_{k+1} + ε)/η (*x), of the step from x_k."""
        return state.dtype.type(self.weight(self.beta1, step)) * super().preconditioner(step, state)

    @property
    def edge(self) -> float:
        return 2.0 * (1.0 + self.beta1) / (1.0 - self.beta1)
