"""The names of the activations, the only list of them; their formulas are in ``_kernels/activations.py``."""

from __future__ import annotations

from typing import Literal, get_args

#: tanh; relu; gelu z Φ(z); erf; sigmoid 1/(1 + e^−z); softplus log(1 + e^z); sin; quadratic z².
Activation = Literal["tanh", "relu", "gelu", "erf", "sigmoid", "softplus", "sin", "quadratic"]
ACTIVATIONS: tuple[str, ...] = get_args(Activation)
