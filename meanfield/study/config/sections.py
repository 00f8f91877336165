"""The tables of a configuration for the objective and the output."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import pydantic
from pydantic import model_validator

from meanfield import tasks
from meanfield.activations import Activation
from meanfield.initializers import INITIALIZERS, Initializer
from meanfield.landscapes import LANDSCAPES
from meanfield.losses import LOSSES
from meanfield.study.config.derived import Chosen, NamedSection, Section, Sections

Count = Annotated[int, pydantic.Field(ge=1, lt=2**63)]  # integers of a file have 64 bits
Steps = Annotated[int, pydantic.Field(ge=0, lt=2**63)]
Seed = Annotated[int, pydantic.Field(ge=0, lt=2**64)]
Positive = Annotated[float, pydantic.Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, pydantic.Field(ge=0, allow_inf_nan=False)]
Finite = Annotated[float, pydantic.Field(allow_inf_nan=False)]
Vector = Annotated[tuple[Finite, ...], pydantic.Field(strict=False)]  # an array, in TOML
Dtype = Literal["float64", "float32"]
if TYPE_CHECKING:
    LossName = str
else:
    LossName = Literal[tuple(LOSSES)]


# --- a network on a task -------------------------------------------------------------------------


class TaskSection(NamedSection):
    """The data; the other keys are the parameters of the function of `meanfield.tasks` of this name.

    Relative paths in a TOML file are relative to its folder, others to the current folder.
    """

    @property
    def arguments(self) -> dict[str, Any]:
        """The other keys."""
        return self.model_dump(exclude={"name"})

    def build(self) -> tasks.Task:
        """The data."""
        return tasks.TASKS[self.name](**self.arguments)


TASK_SECTIONS = Sections(tasks.TASKS, TaskSection)


class InitSection(NamedSection):
    """The initial particles; the other keys are the parameters of the class of `meanfield.initializers` of this name."""

    def build(self) -> Initializer:
        """The initializer."""
        return INITIALIZERS[self.name](**self.model_dump(exclude={"name"}))


INIT_SECTIONS = Sections(INITIALIZERS, InitSection)
DEFAULT_INIT = "normal"
Init = Annotated[InitSection, Chosen("name", INIT_SECTIONS)]


class NetworkSection(Section):
    """The two-layer network; its dimensions are those of the task.

    Parameters
    ----------
    width : int
        Number of neurons N, the particles.
    activation : str
        Name of the activation, see `meanfield.TwoLayerNetwork`.
    bias : bool
        Whether neurons have a bias.
    train_output : bool
        Whether output weights are trained; false: they are 1, and there is one output.
    output_bias : bool
        Whether neurons have further coordinates v, whose mean is a trained bias of the outputs.
    init : table
        The initial particles.
    """

    width: Count = 400
    activation: Activation = "tanh"
    bias: bool = True
    train_output: bool = True
    output_bias: bool = False
    init: Init = INIT_SECTIONS[DEFAULT_INIT](name=DEFAULT_INIT)


class RiskSection(Section):
    """The risk, see `meanfield.Risk`.

    Parameters
    ----------
    loss : str
        "squared", "logistic" (targets ±1) or "softmax".
    weight_decay : float
        λ of the confinement (λ/2N) Σ_i |θ_i|².
    dtype : {"float64", "float32"}
        Precision of the particles and of all computations with them.
    """

    loss: LossName = "squared"
    weight_decay: NonNegative = 0.0
    dtype: Dtype = "float64"


# --- a landscape ---------------------------------------------------------------------------------


class LandscapeSection(NamedSection):
    """A landscape in place of a network; the other keys are its own parameters, see `meanfield.landscapes`."""

    start: Vector | None = None
    dtype: Dtype = "float64"

    def build(self) -> Any:
        """The landscape, an objective on flat arrays."""
        parameters = self.model_dump(exclude={"name", "start", "dtype"})
        return LANDSCAPES[self.name](**parameters)

    @model_validator(mode="after")
    def _is_one(self) -> LandscapeSection:
        dimension = self.build().dimension
        if self.start is not None and len(self.start) != dimension:
            raise ValueError(f"start must have {dimension} numbers, got {len(self.start)}")
        return self


LANDSCAPE_SECTIONS = Sections(LANDSCAPES, LandscapeSection)


class OutputSection(Section):
    """What is measured and stored, and how often, in steps from step 0; the last step is always measured and kept.

    Parameters
    ----------
    observe_every : int
        Steps between rows of the scalars; there are also rows where the spectrum is measured.
    snapshot_every : int
        Steps between snapshots of all particles.
    sharpness_every : int
        Steps between measurements of the spectrum of the Hessian.
    eigenvalues : int
        Number of the largest eigenvalues of the Hessian that are measured; the first is the sharpness.
    compression : {"none", "gzip"}
        Of the file.
    snapshot_dtype : {"float64", "float32"}
        Precision of the snapshots in the file.
    rounding_spread : bool
        Whether gradient descent, if others are compared with it, runs again from a start perturbed by one rounding.
    iterate_sharpness : bool
        Whether the top eigenvalue of the Hessian is also measured at the iterate, for flows with iterates; `sharpness` is
        measured at the center.
    """

    observe_every: Count = 1
    snapshot_every: Count = 50
    sharpness_every: Count = 10
    eigenvalues: Count = 1
    compression: Literal["none", "gzip"] = "none"
    snapshot_dtype: Dtype = "float64"
    rounding_spread: bool = True
    iterate_sharpness: bool = False


Task = Annotated[TaskSection, Chosen("name", TASK_SECTIONS)]
Landscape = Annotated[LandscapeSection, Chosen("name", LANDSCAPE_SECTIONS)]
