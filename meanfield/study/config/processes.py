"""The tables ``[processes.<name>]`` of a configuration, each derived from the class of a flow."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import PlainValidator, create_model, model_validator

from meanfield.study.config.derived import Chosen, Section
from solvers._support.arguments import choice, real, refusal
from solvers._support.options import Option, options_of
from solvers.flow import ContinuousFlow, Flow, SteppedFlow
from solvers.flows import FLOWS, REFERENCE_FLOW
from solvers.integrators import INTEGRATORS, Adaptive, Integrator, Stabilized
from solvers.mini_batch import MiniBatch
from solvers.optimizer import Optimizer

TOLERANCES = ("rtol", "atol")
TIME_STEPPING = ("dt", "integrator", *TOLERANCES)
BATCHES = tuple(options_of(MiniBatch))
_MOST = 2**64 - 1  # integers of a file have 64 bits


class ProcessSection(Section):
    """A flow, its options, and its time integration."""

    if TYPE_CHECKING:
        flow: str

    @property
    def options(self) -> dict[str, Any]:
        """The options of the flow."""
        batches = BATCHES if self.has_batches() else ()
        return self.model_dump(exclude={"flow", *TIME_STEPPING, *batches})

    @classmethod
    def has_batches(cls) -> bool:
        """Whether the flow may take its steps on batches of the samples."""
        return takes_batches(FLOWS[cls.model_fields["flow"].default])

    @property
    def batches(self) -> dict[str, Any]:
        """The options of `solvers.MiniBatch`; empty where steps are taken on all samples."""
        if not self.has_batches() or self.batch_size is None:  # type: ignore[attr-defined]
            return {}
        return self.model_dump(include=set(BATCHES))

    @property
    def time_stepping(self) -> dict[str, Any]:
        """The given options of the time integration."""
        return self.model_dump(include=set(TIME_STEPPING), exclude_none=True)

    @model_validator(mode="after")
    def _scheme_fits(self) -> ProcessSection:
        given = self.time_stepping
        integrator = given.get("integrator")
        if integrator is not None and self.options.get("delay"):
            raise ValueError(
                f"integrator must not be given with delay = true, whose scheme has dt only, got {integrator!r}"
            )
        if (
            integrator is not None
            and "dt" in given
            and getattr(INTEGRATORS[integrator], "default_dt", None) is None
        ):
            keys = " and ".join(_tolerances_of(integrator))
            raise ValueError(
                f"dt must not be given with integrator = {integrator!r}, which has {keys}, got {given['dt']!r}"
            )
        for key in TOLERANCES:
            if key in given and key not in _tolerances_of(integrator):
                having = " or ".join(
                    repr(name) for name in INTEGRATORS if key in _tolerances_of(name)
                )
                raise ValueError(
                    f"{key} must not be given without integrator = {having}, got {given[key]!r}"
                )
        if not {"integrator", "dt"} & given.keys() and not self.options.get("delay"):
            self._name_the_default(FLOWS[self.flow])
        return self

    @model_validator(mode="after")
    def _batches_fit(self) -> ProcessSection:
        if not self.has_batches():
            return self
        if not self.batches:
            for key in BATCHES[1:]:
                if (value := getattr(self, key)) is not None:
                    raise ValueError(f"{key} must not be given without {BATCHES[0]}, got {value!r}")
        for key in self.batches:
            if getattr(self, key) is None:  # named: a stored configuration says what its run used
                object.__setattr__(self, key, options_of(MiniBatch)[key].default)
        return self

    def on_few_coordinates(self) -> None:
        """Name the default scheme on few coordinates, where none is given."""
        if not {"integrator", "dt"} & self.model_fields_set and not self.options.get("delay"):
            self._name_the_default(FLOWS[self.flow], "few_integrator")

    def _name_the_default(self, flow: type[Flow], which: str = "default_integrator") -> None:
        """Set the keys of the default scheme, where it has a tolerance: a stored configuration then says what its run used."""
        scheme = getattr(flow, which, None)
        if isinstance(scheme, Stabilized):
            for key, value in scheme_keys(scheme).items():
                object.__setattr__(self, key, value)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by the flow's name, as the class is created dynamically."""
        named = self.time_stepping  # defaults that were named, too
        return _restored, ({"flow": self.flow, **self.model_dump(exclude_unset=True), **named},)


def _restored(values: dict[str, Any]) -> ProcessSection:
    return PROCESS_SECTIONS[values["flow"]](**values)


@cache
def section_of(flow: type[Flow]) -> type[ProcessSection]:
    """The table of a flow: its keys are the options of the flow and of its time integration.

    Raises
    ------
    ValueError
        An option has the name of another key.
    """
    options = {name: _key(name, option) for name, option in flow.options().items()}
    batches = _batch_keys() if takes_batches(flow) else {}
    reserved = {"flow", "options", "time_stepping", "batches", *TIME_STEPPING, *batches}
    if taken := sorted(reserved & options.keys()):
        raise refusal(f"{flow.name}: options", f"of other names than {', '.join(taken)}", taken)
    delay = {name: options.pop(name) for name in ("delay",) if name in options}
    named = {"flow": (Literal[flow.name], flow.name)}
    scheme = _scheme_keys(flow)
    is_parameter = getattr(flow, "dt_is_parameter", False)
    fields: Any = named | scheme | options if is_parameter else scheme | delay | named | options
    fields |= batches
    section: type[ProcessSection] = create_model(
        f"{flow.__name__}Section", __base__=ProcessSection, __doc__=flow.__doc__, **fields
    )
    return section


def takes_batches(flow: type[Flow]) -> bool:
    """Whether the steps of a flow may be taken on batches: those of gradient descent and of optimizers."""
    return flow.name == REFERENCE_FLOW or issubclass(flow, Optimizer)


def _batch_keys() -> dict[str, Any]:
    """Absent by default, so that all samples are taken."""
    return {
        name: (_key(name, option)[0] | None, None) for name, option in options_of(MiniBatch).items()
    }


def scheme_keys(scheme: Integrator) -> dict[str, Any]:
    """The keys that stand for an integrator."""
    name = next(name for name, kind in INTEGRATORS.items() if kind is type(scheme))
    return {"integrator": name} | {key: getattr(scheme, key) for key in _tolerances_of(name)}


def former_scheme(flow: object, table: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of the scheme that was the default when a stored table was written that names none; none where it still is."""
    known = FLOWS[flow] if isinstance(flow, str) and flow in FLOWS else None
    if known is None or {"integrator", "dt"} & table.keys() or table.get("delay"):
        return {}
    is_new = isinstance(getattr(known, "default_integrator", None), Stabilized)
    return scheme_keys(known.former_integrator) if is_new else {}  # type: ignore[attr-defined]


def _tolerances_of(integrator: str | None) -> list[str]:
    """Which of the tolerances an integrator has."""
    if integrator is None:
        return []
    return [key for key in TOLERANCES if key in options_of(INTEGRATORS[integrator])]


def _scheme_keys(flow: type[Flow]) -> dict[str, Any]:
    """The keys of a flow's time integration: none for a map."""
    if issubclass(flow, SteppedFlow) and flow.dt_is_parameter:
        return {"dt": (_checked(partial(real, "dt", above=0)), flow.default_dt)}
    if not issubclass(flow, SteppedFlow | ContinuousFlow):
        return {}
    keys: dict[str, Any] = {"dt": (_checked(_time_step) | None, None)}
    if issubclass(flow, ContinuousFlow):
        named = partial(choice, "integrator", choices=tuple(INTEGRATORS))
        keys["integrator"] = (_checked(named) | None, None)
        for name in TOLERANCES:
            keys[name] = (_key(name, options_of(Adaptive)[name])[0] | None, None)
    return keys


def _key(name: str, option: Option) -> tuple[Any, Any]:
    """Type and default of the key of an option, with the checks of the flow."""

    def check(value: object) -> Any:
        checked = option.check(name, value)
        if isinstance(checked, int) and abs(checked) > _MOST:
            raise refusal(name, "an integer of at most 64 bits", value)
        return checked

    return _checked(check), ... if option.is_required else option.default


def _checked(check: Callable[[Any], Any]) -> Any:
    return Annotated[Any, PlainValidator(check)]


def _time_step(value: object) -> float:
    dt = real("dt", value, above=0, most=1)
    if abs(1 / dt - round(1 / dt)) > 1e-9 / dt:
        raise refusal("dt", "1/m for an integer m", value)
    return dt


class _Sections(Mapping[str, type[ProcessSection]]):
    """The tables of all flows, created on first use."""

    def __getitem__(self, name: str) -> type[ProcessSection]:
        return section_of(FLOWS[name])

    def __contains__(self, name: object) -> bool:
        return name in FLOWS

    def __iter__(self) -> Iterator[str]:
        return iter(FLOWS)

    def __len__(self) -> int:
        return len(FLOWS)


PROCESS_SECTIONS = _Sections()
Process = Annotated[ProcessSection, Chosen("flow", PROCESS_SECTIONS)]
