"""The tables of a study's TOML that say what is minimised and what is kept."""

from __future__ import annotations

from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_type_hints

import pydantic
from pydantic import BaseModel, ConfigDict, create_model, model_validator

from meanfield.landscapes import LANDSCAPES
from meanfield.networks import ACTIVATIONS
from meanfield.tasks import CIFAR10_MEAN_SQUARE

Count = Annotated[int, pydantic.Field(ge=1, lt=2**63)]  # integers of a file have 64 bits
Steps = Annotated[int, pydantic.Field(ge=0, lt=2**63)]
Seed = Annotated[int, pydantic.Field(ge=0, lt=2**64)]
# it may be resumed from another folder
DataPath = Annotated[str, pydantic.AfterValidator(lambda path: str(Path(path).absolute()))]
Positive = Annotated[float, pydantic.Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, pydantic.Field(ge=0, allow_inf_nan=False)]
Finite = Annotated[float, pydantic.Field(allow_inf_nan=False)]
Fraction = Annotated[float, pydantic.Field(ge=0, le=1)]
Vector = Annotated[tuple[Finite, ...], pydantic.Field(strict=False)]  # an array, in TOML
Matrix = Annotated[tuple[Vector, ...], pydantic.Field(strict=False)]
SCALARS: dict[type, Any] = {int: int, float: Finite}
Dtype = Literal["float64", "float32"]
if TYPE_CHECKING:
    Activation = str
else:
    Activation = Literal[ACTIVATIONS]


class Section(BaseModel):
    """A table of the TOML: every key known, every value of the very type asked for."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


# --- a network on a task -------------------------------------------------------------------------


class DigitsTask(Section):
    """The 8x8 digits, see `meanfield.tasks.digits`."""

    name: Literal["digits"] = "digits"
    n: Annotated[int, pydantic.Field(ge=1, le=1797)] = 300
    target: Literal["parity", "classes"] = "parity"
    seed: Seed = 0


class NoisyDigitsTask(Section):
    """Digits with wrong labels, see `meanfield.tasks.noisy_digits`."""

    name: Literal["noisy_digits"]
    n: Annotated[int, pydantic.Field(ge=1, le=1797)] = 300
    target: Literal["parity", "classes"] = "parity"
    fraction: Fraction = 0.1
    seed: Seed = 0


class Cifar10Task(Section):
    """Small images of ten classes, see `meanfield.tasks.cifar10`; a relative path as for `NpzTask`."""

    name: Literal["cifar10"]
    path: DataPath | None = None
    n: Count = 500
    classes: Annotated[tuple[int | str, ...], pydantic.Field(strict=False)] | None = None
    target: Literal["one_hot", "sign"] = "one_hot"
    mean_square: Positive = CIFAR10_MEAN_SQUARE
    seed: Seed = 0
    train: bool = True


class TeacherStudentTask(Section):
    """Targets of a random narrow network, see `meanfield.tasks.teacher_student`."""

    name: Literal["teacher_student"]
    n: Count = 200
    input_dim: Count = 10
    teacher_width: Count = 4
    activation: Activation = "tanh"
    noise: NonNegative = 0.0
    seed: Seed = 0


class NpzTask(Section):
    """Arrays of an .npz file, see `meanfield.tasks.from_npz`.

    A relative path in a TOML file starts at the file's folder, another one at the current folder.
    """

    name: Literal["npz"]
    path: DataPath


class NetworkSection(Section):
    """The two-layer network; its dimensions are those of the task."""

    width: Count = 400
    activation: Activation = "tanh"
    bias: bool = True
    train_output: bool = True


class RiskSection(Section):
    """The risk, see `meanfield.Risk`."""

    loss: Literal["squared", "logistic", "softmax"] = "squared"
    weight_decay: NonNegative = 0.0
    dtype: Dtype = "float64"


# --- a landscape ---------------------------------------------------------------------------------


class LandscapeSection(Section):
    """A landscape in place of a network; the other keys are its own parameters, see `meanfield.landscapes`."""

    name: str
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
            raise ValueError(f"start: {len(self.start)} numbers came, {dimension} are needed")
        return self


def _landscape_section(name: str, landscape: type) -> type[LandscapeSection]:
    """The table of one landscape: its constructor's parameters, numbers or matrices, with their defaults."""
    hints = get_type_hints(landscape)
    parameters: dict[str, Any] = {
        field.name: (SCALARS.get(hints[field.name], Matrix), _default(field))
        for field in fields(landscape)
        if field.init
    }
    parameters["name"] = (Literal[name], ...)
    return create_model(
        f"{landscape.__name__}Section",
        __base__=LandscapeSection,
        __doc__=landscape.__doc__,
        **parameters,
    )


def _default(field: Field[Any]) -> Any:
    return ... if field.default is MISSING else field.default


class OutputSection(Section):
    """What is measured and kept, and how often, in steps.

    `rounding_spread`: whether gradient descent, where others are compared with it, runs again from one rounding away.
    """

    snapshot_every: Count = 50
    sharpness_every: Count = 10
    eigenvalues: Count = 1
    compression: Literal["none", "gzip"] = "none"
    snapshot_dtype: Dtype = "float64"
    rounding_spread: bool = True


Task = Annotated[
    DigitsTask | NoisyDigitsTask | Cifar10Task | TeacherStudentTask | NpzTask,
    pydantic.Field(discriminator="name"),
]
if TYPE_CHECKING:
    Landscape = LandscapeSection
else:
    Landscape = Annotated[
        Union[tuple(_landscape_section(*item) for item in LANDSCAPES.items())],  # noqa: UP007
        pydantic.Field(discriminator="name"),
    ]
