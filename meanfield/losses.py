"""Losses ℓ(f, y) of one sample and their derivatives in the outputs f.

Outputs and targets have shape (n, c). Every loss gives, per sample, its value (n,), its gradient ℓ'(f) (n, c), its curvature
applied to δf, ℓ''(f)[δf] (n, c), and its third derivative ℓ'''(f)[δf, δf] (n, c), all in closed form.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]


def _special() -> Any:
    """SciPy's functions, imported on first use: it takes longer than a small run, and the squared loss needs none."""
    from scipy import special

    return special


class Loss(Protocol):
    """The interface of losses."""

    def check_targets(self, targets: Array) -> None: ...
    def value(self, outputs: Array, targets: Array) -> Array: ...
    def gradient(self, outputs: Array, targets: Array) -> Array: ...
    def curvature(self, outputs: Array, targets: Array, direction: Array) -> Array: ...
    def third(self, outputs: Array, targets: Array, direction: Array) -> Array: ...


class SquaredLoss:
    """ℓ(f, y) = ½ |f − y|²."""

    def check_targets(self, targets: Array) -> None:
        """Accept any finite targets."""

    def value(self, outputs: Array, targets: Array) -> Array:
        return 0.5 * np.sum((outputs - targets) ** 2, axis=1)

    def gradient(self, outputs: Array, targets: Array) -> Array:
        return outputs - targets

    def curvature(self, outputs: Array, targets: Array, direction: Array) -> Array:
        return direction

    def third(self, outputs: Array, targets: Array, direction: Array) -> Array:
        return np.zeros_like(direction)


class LogisticLoss:
    """ℓ(f, y) = Σ_j log(1 + exp(−y_j f_j)) for targets ±1."""

    def check_targets(self, targets: Array) -> None:
        """Check that targets are −1 or +1."""
        if not np.all(np.abs(targets) == 1):
            raise ValueError("targets must be −1 or +1 for the logistic loss, got other values")

    def value(self, outputs: Array, targets: Array) -> Array:
        return np.sum(np.logaddexp(0.0, -targets * outputs), axis=1, dtype=outputs.dtype)

    def gradient(self, outputs: Array, targets: Array) -> Array:
        return -targets * _special().expit(-targets * outputs)

    def curvature(self, outputs: Array, targets: Array, direction: Array) -> Array:
        return _special().expit(outputs) * _special().expit(-outputs) * direction

    def third(self, outputs: Array, targets: Array, direction: Array) -> Array:
        slope = _special().expit(outputs) * _special().expit(-outputs)
        return slope * (_special().expit(-outputs) - _special().expit(outputs)) * direction**2


class SoftmaxLoss:
    """ℓ(f, y) = log Σ_j exp(f_j) − y·f, the cross-entropy of softmax(f) for targets y on the probability simplex."""

    def check_targets(self, targets: Array) -> None:
        """Check for at least two classes, and non-negative rows that sum to one."""
        if targets.shape[1] < 2:
            raise ValueError("targets must have at least 2 columns for the softmax loss, got 1")
        rounding = 4 * targets.shape[1] * np.finfo(targets.dtype).eps
        if np.any(targets < 0) or np.any(np.abs(targets.sum(axis=1) - 1) > rounding):
            raise ValueError(
                "targets must have rows of probabilities for the softmax loss, got others"
            )

    def value(self, outputs: Array, targets: Array) -> Array:
        value: Array = _special().logsumexp(outputs, axis=1) - np.sum(targets * outputs, axis=1)
        return value

    def gradient(self, outputs: Array, targets: Array) -> Array:
        gradient: Array = _special().softmax(outputs, axis=1) - targets
        return gradient

    def curvature(self, outputs: Array, targets: Array, direction: Array) -> Array:
        p = _special().softmax(outputs, axis=1)
        return p * self._centered(p, direction)

    def third(self, outputs: Array, targets: Array, direction: Array) -> Array:
        # With δ centered under p: (p δ)˙ = p (δ² − E_p[δ²]), the variance being the second cumulant.
        p = _special().softmax(outputs, axis=1)
        return p * self._centered(p, self._centered(p, direction) ** 2)

    @staticmethod
    def _centered(p: Array, values: Array) -> Array:
        """Values minus their mean under the probabilities p, row by row."""
        return values - np.sum(p * values, axis=1, keepdims=True)


LOSSES: dict[str, Loss] = {
    "squared": SquaredLoss(),
    "logistic": LogisticLoss(),
    "softmax": SoftmaxLoss(),
}
