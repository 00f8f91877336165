"""The tables ``[processes.<name>]`` of a study's TOML: one for each flow."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator, model_validator

from meanfield.study.config.derived import Section
from meanfield.study.config.sections import Count, Finite, NonNegative, Positive, Seed


def _floor(value: Any) -> float | str:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if value == "rounding" or (is_number and 0 <= value < math.inf):
        return value
    raise ValueError(f"{value!r} came, 'rounding' or a finite number of at least 0 is needed")


TIME_STEPPING = {"integrator", "dt", "rtol", "atol"}


class _Process(Section):
    """A flow with its options, and how it moves in time."""

    @property
    def options(self) -> dict[str, Any]:
        """Those of the flow."""
        return self.model_dump(exclude={"flow", *TIME_STEPPING})

    @property
    def time_stepping(self) -> dict[str, Any]:
        """Those of the scheme in time that were given."""
        return self.model_dump(include=TIME_STEPPING, exclude_none=True)


class GradientDescentProcess(_Process):
    """Gradient descent; it has no options, one step is one iteration."""

    flow: Literal["gradient_descent"] = "gradient_descent"


class NormalizedGradientDescentProcess(_Process):
    """Gradient descent with steps of one length, see `solvers.NormalizedGradientDescent`."""

    flow: Literal["normalized_gradient_descent"]


class SqrtLossGradientDescentProcess(_Process):
    """Gradient descent on the root of the loss, see `solvers.SqrtLossGradientDescent`."""

    flow: Literal["sqrt_loss_gradient_descent"]
    minimum: Finite = 0.0


class _OwnScheme(_Process):
    """A flow with a scheme in time of its own."""

    dt: Annotated[float, Field(gt=0, le=1)] | None = None

    @model_validator(mode="after")
    def _dt_divides_one(self) -> _OwnScheme:
        if self.dt is not None and abs(1 / self.dt - round(1 / self.dt)) > 1e-9:
            raise ValueError(f"dt: {self.dt} came, one step over a whole number is needed")
        return self


class _AnyScheme(_OwnScheme):
    """A flow that an integrator moves."""

    integrator: Literal["euler", "midpoint", "rk4", "adaptive"] | None = None
    rtol: Positive | None = None
    atol: Positive | None = None

    @model_validator(mode="after")
    def _fixed_or_adaptive(self) -> _AnyScheme:
        adaptive = self.integrator == "adaptive"
        if adaptive and self.dt is not None:
            raise ValueError("dt: not used by integrator 'adaptive', which has rtol and atol")
        if not adaptive and (self.rtol is not None or self.atol is not None):
            raise ValueError("rtol, atol: only integrator 'adaptive' uses them")
        return self


class _AnySchemeOrDelay(_AnyScheme):
    """A flow that an integrator moves, unless its velocity is delayed."""

    delay: bool = False

    @model_validator(mode="after")
    def _delay_is_a_scheme(self) -> _AnySchemeOrDelay:
        if self.delay and self.integrator is not None:
            raise ValueError("integrator: not used with delay = true, which has dt only")
        return self


class GradientFlowProcess(_AnySchemeOrDelay):
    """Gradient flow, see `solvers.GradientFlow`."""

    flow: Literal["gradient_flow"]


class FreeEnergyFlowProcess(_AnySchemeOrDelay):
    """Free-energy flow, see `solvers.FreeEnergyFlow`."""

    flow: Literal["free_energy_flow"]
    closure: Literal["endpoint", "taylor"] = "endpoint"
    growth: Literal["linear", "exact"] = "linear"
    rank: Count = 1
    fluctuation_floor: Annotated[float | str, PlainValidator(_floor)] = "rounding"
    seed: Seed = 0


class RodFlowProcess(_OwnScheme):
    """Rod flow, see `solvers.RodFlow`."""

    flow: Literal["rod_flow"]
    rank: Count = 16


class EdgeFlowProcess(_AnyScheme):
    """Edge flow, see `solvers.EdgeFlow`."""

    flow: Literal["edge_flow"]


class CentralFlowProcess(_OwnScheme):
    """Central flow, see `solvers.CentralFlow`."""

    flow: Literal["central_flow"]
    max_modes: Count = 8


class SharpnessFlowProcess(_AnyScheme):
    """Sharpness flow on the minimisers, see `solvers.SharpnessFlow`."""

    flow: Literal["sharpness_flow"]
    law: Literal["normalized", "sqrt_loss"] = "normalized"


class SelfStabilizationProcess(_AnyScheme):
    """Self-stabilisation, reduced at the start, see `solvers.SelfStabilization`."""

    flow: Literal["self_stabilization"]
    modes: Count = 1


class LangevinProcess(_Process):
    """The noisy particle system of mean-field Langevin, see `solvers.Langevin`."""

    flow: Literal["langevin"]
    temperature: NonNegative
    seed: Seed = 0


class JKOProcess(_Process):
    """Minimising movements of the particles, see `solvers.JKOFlow`; dt is the step τ."""

    flow: Literal["jko"]
    dt: Positive = 1.0
    temperature: NonNegative = 0.0
    saddle: bool = False


class PhaseSpaceProcess(_OwnScheme):
    """The kinetic equation on a grid, for particles of one parameter, see `solvers.PhaseSpaceFlow`."""

    flow: Literal["phase_space"]
    cells: Annotated[tuple[Count, Count], Field(strict=False)] = (128, 128)
    temperature: NonNegative = 0.0
    max_cells: Count = 2**22


Process = Annotated[
    GradientDescentProcess
    | NormalizedGradientDescentProcess
    | SqrtLossGradientDescentProcess
    | GradientFlowProcess
    | FreeEnergyFlowProcess
    | RodFlowProcess
    | EdgeFlowProcess
    | CentralFlowProcess
    | SharpnessFlowProcess
    | SelfStabilizationProcess
    | LangevinProcess
    | JKOProcess
    | PhaseSpaceProcess,
    Field(discriminator="flow"),
]
