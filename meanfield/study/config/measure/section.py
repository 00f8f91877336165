"""The tables of ``[measure]``: terms of the energy, start, representation and steps."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, Field, model_validator

import solvers
from meanfield.study.config.derived import Chosen, NamedSection, Section, Sections
from meanfield.study.config.limits import LONGEST_NAME
from meanfield.study.config.measure.laws import LAWS, Law
from meanfield.study.config.measure.spaces import SPACES, Space
from solvers.measures.energies import Energy, Sum
from solvers.measures.terms import TERMS

if TYPE_CHECKING:
    from solvers.jko.march import Pace

_NAME = re.compile(rf"[A-Za-z][A-Za-z0-9_]{{0,{LONGEST_NAME - 1}}}")
DEFAULT_LAW = "gaussian"
#: Keys of `[output]` that a run of a measure has; it measures everything at every step.
OUTPUT_KEYS = ("snapshot_every", "compression", "snapshot_dtype")


class TermSection(NamedSection):
    """A term of the energy; the other keys are the parameters of `solvers.measures.terms` under this name."""

    def build(self) -> Energy:
        """The energy."""
        return TERMS[self.name](**self.model_dump(exclude={"name"}))

    @model_validator(mode="after")
    def _is_one(self) -> TermSection:
        self.build()
        return self


class LawSection(NamedSection):
    """The law at the start."""

    def build(self) -> Law:
        """The law."""
        return LAWS[self.name](**self.model_dump(exclude={"name"}))

    @model_validator(mode="after")
    def _is_one(self) -> LawSection:
        self.build()
        return self


class SpaceSection(NamedSection):
    """The representation of the measure."""

    def build(self) -> Space:
        """The representation."""
        return SPACES[self.name](**self.model_dump(exclude={"name"}))

    @model_validator(mode="after")
    def _is_one(self) -> SpaceSection:
        self.build()
        return self


TERM_SECTIONS = Sections(TERMS, TermSection)
LAW_SECTIONS = Sections(LAWS, LawSection)
SPACE_SECTIONS = Sections(SPACES, SpaceSection)


def _term_name(name: str) -> str:
    if _NAME.fullmatch(name) is None:
        raise ValueError(
            f"the name must be of letters, digits and underscores, a letter first, got {name!r:.40}"
        )
    return name


def _some(terms: dict[str, TermSection]) -> dict[str, TermSection]:
    if not terms:
        raise ValueError(f"energy must have at least one term, one of {', '.join(TERMS)}, got none")
    return terms


Terms = Annotated[
    dict[
        Annotated[str, AfterValidator(_term_name)],
        Annotated[TermSection, Chosen("name", TERM_SECTIONS)],
    ],
    AfterValidator(_some),
]


class MeasureSection(Section):
    """A Wasserstein gradient flow by minimising movements in place of a network on a task, see `solvers.evolve`.

    Parameters
    ----------
    step_size : float, optional
        τ, the size of a step. Either this or `tolerance`.
    tolerance : float, optional
        Choose every τ such that W2 between a step of first and one of second order is at most this.
    order : {1, 2}
        Of the error in τ.
    duration : float, optional
        The time to cover; by default that of as many steps as the key `steps` says.
    space, initial, energy : table
        What the measure is represented by; its law at the start; the terms of the energy, each under a name.
    """

    step_size: float | None = Field(None, gt=0, allow_inf_nan=False)
    tolerance: float | None = Field(None, gt=0, allow_inf_nan=False)
    order: int = Field(1, ge=1, le=2)
    duration: float | None = Field(None, gt=0, allow_inf_nan=False)
    space: Annotated[SpaceSection, Chosen("name", SPACE_SECTIONS)]
    initial: Annotated[LawSection, Chosen("name", LAW_SECTIONS)] = LAW_SECTIONS[DEFAULT_LAW](
        name=DEFAULT_LAW
    )
    energy: Terms

    @model_validator(mode="after")
    def _has_steps(self) -> MeasureSection:
        if (self.step_size is None) == (self.tolerance is None):
            raise ValueError(
                "step_size must be given, or a tolerance but not both, "
                f"got step_size = {self.step_size} and tolerance = {self.tolerance}"
            )
        if self.tolerance is not None and self.duration is None:
            raise ValueError("duration must be given with a tolerance, got None")
        return self

    def pace(self, steps: int) -> Pace:
        """The sizes of the steps."""
        from solvers.jko.march import Pace  # with the schemes, and their kernels

        t = steps * (self.step_size or 0.0) if self.duration is None else self.duration
        return Pace(t, self.step_size, self.tolerance, self.order)

    def build_energy(self) -> Energy:
        """The sum of the terms."""
        return Sum(*(term.build() for term in self.energy.values()))

    def build_start(self, seed: int) -> solvers.Grid | solvers.Particles | solvers.Quantiles:
        """The measure at the start.

        Raises
        ------
        ValueError
            The file cannot be read, or the law has no mass there; the message names the table.
        """
        with errors_of("measure.initial: "):
            return self.space.build().start(self.initial.build(), seed)


@contextmanager
def errors_of(key: str) -> Iterator[None]:
    """Context whose errors begin with the key of a table."""
    try:
        yield
    except ValueError as error:
        raise ValueError(key + str(error)) from None


def named_terms(table: Any) -> None:
    """Give the tables of `[measure]` the names that are their defaults: a term is called what its table is called."""
    if not isinstance(table, dict):
        return
    if isinstance(initial := table.get("initial"), dict):
        initial.setdefault("name", DEFAULT_LAW)
    energy = table.get("energy")
    for label, term in energy.items() if isinstance(energy, dict) else ():
        if isinstance(term, dict):
            term.setdefault("name", label)


def check_measure(config: Any) -> None:
    """Raise a ValueError for keys of a configuration that a run of a measure does not have."""
    measure, given = config.measure, config.model_fields_set
    surplus = sorted(given - {"seed", "learning_rate", "steps", "output", "measure"})
    if surplus:
        raise ValueError(
            f"measure must be without {', '.join(surplus)}, got both; a run has either a measure or processes on a problem"
        )
    if not isinstance(config.learning_rate, float | int):
        raise ValueError("learning_rate must be a number with a measure, got a schedule")
    unused = sorted(config.output.model_fields_set - set(OUTPUT_KEYS))
    if unused:
        raise ValueError(
            f"output.{unused[0]} must be left out with a measure, which has {', '.join(OUTPUT_KEYS)}, got one"
        )
    if measure.duration is not None and "steps" in given:
        raise ValueError(
            f"steps must be left out with measure.duration, got {config.steps} and {measure.duration:g}"
        )
    if measure.duration is None and config.steps < 1:
        raise ValueError(f"steps must be at least 1 with a measure, got {config.steps}")
    with errors_of("measure."):
        measure.pace(config.steps)


def keys_of_measure(config: Any) -> dict[str, Any]:
    """What the file of a run says of its configuration, as pydantic's `include`."""
    whole = dict.fromkeys(("seed", "learning_rate", "measure"), True)
    steps = {} if config.measure.duration is not None else {"steps": True}
    return whole | steps | {"output": set(OUTPUT_KEYS)}
