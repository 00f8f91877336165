"""Every key of a configuration with its type, its default and its meaning, derived from the tables and their docstrings."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from pydantic_core import PydanticUndefined

from meanfield.study.config.derived import Section
from meanfield.study.config.measure.section import (
    LAW_SECTIONS,
    SPACE_SECTIONS,
    TERM_SECTIONS,
    MeasureSection,
)
from meanfield.study.config.processes import BATCHES, PROCESS_SECTIONS, TIME_STEPPING
from meanfield.study.config.reading import DEFAULT_TASK
from meanfield.study.config.run_config import DEFAULT_PROCESSES, RunConfig
from meanfield.study.config.sections import (
    DEFAULT_INIT,
    INIT_SECTIONS,
    LANDSCAPE_SECTIONS,
    TASK_SECTIONS,
    NetworkSection,
    OutputSection,
    RiskSection,
)
from meanfield.study.config.toml import format_toml

_WIDTH = 100
# keys that are tables, by the name of their table
_TABLES = {
    "": ("task", "network", "risk", "landscape", "measure", "output", "processes"),
    "network": ("init",),
    "measure": ("space", "initial", "energy"),
}
_CHOOSERS = ("name", "flow")  # the keys that select a table


class Key(NamedTuple):
    """A key of a table: its default is None where the key may be absent, and `is_required` where it has none."""

    table: str
    name: str
    type: str
    default: Any
    meaning: str
    is_required: bool = False

    @property
    def line(self) -> str:
        """As it stands in a TOML file, a comment where it is absent by default."""
        if self.is_required or self.default is None:
            return f"# {self.name} = … ({'required' if self.is_required else 'absent by default'})"
        return format_toml({self.name: self.default}).strip()


class Table(NamedTuple):
    """A table of a configuration; one that the default configuration does not have `is_alternative`."""

    name: str
    summary: str
    keys: tuple[Key, ...]
    is_alternative: bool


def documented(text: str | None) -> dict[str, tuple[str, str]]:
    """Type and meaning of the parameters of a docstring in numpydoc's form."""
    found: dict[str, tuple[str, str]] = {}
    section = re.search(r"Parameters\n-+\n(.*?)(?=\n\n\S+\n-+\n|\Z)", _dedented(text), re.DOTALL)
    for entry in re.split(r"\n(?=\S)", section[1]) if section else ():
        head, _, body = entry.partition("\n")
        names, _, kind = head.partition(" : ")
        meaning = " ".join(body.split())
        found |= {
            name.strip(): (kind.removesuffix(", optional"), meaning) for name in names.split(",")
        }
    return found


def tables() -> Iterator[Table]:
    """All tables: those of the default configuration, then the other tasks, landscapes, measures and flows."""
    yield _table("", RunConfig)
    yield _table("task", TASK_SECTIONS[DEFAULT_TASK])
    yield _table("network", NetworkSection)
    yield _table("network.init", INIT_SECTIONS[DEFAULT_INIT])
    yield _table("risk", RiskSection)
    yield _table("output", OutputSection)
    for flow in DEFAULT_PROCESSES:
        yield _table(f"processes.{flow}", PROCESS_SECTIONS[flow])
    yield from _alternatives("task", TASK_SECTIONS, (DEFAULT_TASK,))
    yield from _alternatives("network.init", INIT_SECTIONS, (DEFAULT_INIT,))
    yield from _alternatives("landscape", LANDSCAPE_SECTIONS, ())
    yield _table("measure", MeasureSection, is_alternative=True)
    yield from _alternatives("measure.space", SPACE_SECTIONS, ())
    yield from _alternatives("measure.initial", LAW_SECTIONS, ())
    yield from _alternatives("measure.energy.{}", TERM_SECTIONS, ())
    yield from _alternatives("processes.{}", PROCESS_SECTIONS, DEFAULT_PROCESSES)


def all_keys() -> Iterator[Key]:
    """All keys of all tables."""
    for table in tables():
        yield from table.keys


def as_toml() -> str:
    """The default configuration in full, with the meaning of every key as a comment, and all alternatives as comments."""
    parts = []
    for table in tables():
        lines = [
            *textwrap.wrap(f"{table.summary}", _WIDTH, initial_indent="# ", subsequent_indent="# ")
        ]
        if table.name:
            lines.append(f"[{table.name}]")
        for key in table.keys:
            about = f"{key.type}. {key.meaning}" if key.type else key.meaning
            lines += textwrap.wrap(about, _WIDTH, initial_indent="# ", subsequent_indent="# ")
            lines.append(key.line)
        if table.is_alternative:
            lines = [line if line.startswith("#") else f"# {line}" for line in lines]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def _alternatives(
    name: str, sections: Mapping[str, type[Section]], default: tuple[str, ...]
) -> Iterator[Table]:
    for choice, section in sections.items():
        if choice not in default:
            yield _table(name.format(choice), section, is_alternative=True)


def _table(name: str, section: type[Section], is_alternative: bool = False) -> Table:
    about = _shared_keys() | documented(section.__doc__)
    found = []
    for key, field in section.model_fields.items():
        if key in _TABLES.get(name, ()):
            continue
        kind, meaning = about.get(
            key, ("str", "Selects the table.") if key in _CHOOSERS else ("", "")
        )
        required = field.default is PydanticUndefined
        if key in _CHOOSERS and required:
            annotation: Any = field.annotation
            field_default, required = annotation.__args__[0], False
        else:
            field_default = None if required else field.default
        if isinstance(field_default, Section):
            field_default = field_default.model_dump(exclude_none=True)
        found.append(Key(name, key, kind, field_default, meaning, required))
    return Table(name, _summary(section.__doc__), tuple(found), is_alternative)


def _shared_keys() -> dict[str, tuple[str, str]]:
    """Of the keys that say how a flow moves in time, and on which samples, from what `solve` and the schemes say of them."""
    import solvers
    from solvers.integrators import Adaptive

    sources: tuple[Callable[..., Any], ...] = (solvers.solve, Adaptive, solvers.MiniBatch)
    about = {name: said for source in sources for name, said in documented(source.__doc__).items()}
    return {name: about[name] for name in (*TIME_STEPPING, *BATCHES) if name in about}


def _summary(text: str | None) -> str:
    return " ".join(_dedented(text).strip().partition("\n\n")[0].split())


def _dedented(text: str | None) -> str:
    first, _, rest = (text or "").partition("\n")
    return f"{first.strip()}\n{textwrap.dedent(rest)}".strip() + "\n"
