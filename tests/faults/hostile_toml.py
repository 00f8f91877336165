"""Hostile configurations: keys and values from the schema itself, bent; and TOML that is hardly one."""

from __future__ import annotations

import types
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import numpy as np
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from meanfield.study.config.derived import Chosen
from meanfield.study.config.run_config import RunConfig, load
from meanfield.study.config.toml import format_toml
from tests.faults.hostile_bytes import INTEGERS, damage

Rng = np.random.Generator
TEXTS = ("", "digits", "parity", "../../escape", "/tmp/hostile-escape/x", "/etc/passwd", "~/x", "a\0b", "a\nb", "\x1b[31m",
         "[bold]", "[/x]", "é" * 300, "$(touch x)", "__import__('os').system('true')", "/dev/zero", "/dev/stdin", ".",
         "rounding", "gradient_descent", "$\\frac$")  # fmt: skip
NUMBERS = (0, -1, 1, 2, 7, 0.0, -0.0, 0.5, 1e-300, 1e300, float("nan"), float("inf"), -float("inf"), 4.9e-324, *INTEGERS,
           -(2**63), 10**30)  # fmt: skip
KEYS = (
    "x",
    "processes",
    "flow",
    "../x",
    "a b",
    "\x1b",
    "[red]",
    "é",
    "comparison",
    "config",
    "__class__",
    "model_config",
    "",
)
TEXT_FORMS = ("[" * 20_000, "a = " + "[" * 5_000 + "]" * 5_000, "a = " + "{b=" * 5_000, "a" + ".a" * 20_000 + " = 1",
              "a = 1" + "0" * 10_000, "a = 0x" + "f" * 10_000, "[" + "a." * 5_000 + "a]", "a = 1e99999", "a = 1979-05-27",
              "\ufeffsteps = 3", "steps = 3\r", "a = '''" + "x" * 10_000, "[processes." + '"' + "x" * 10_000 + '"]',
              "[[processes]]", "processes = 3", "task = 3", "[task]\n[[task]]", "[processes.a]\n[processes.a]")  # fmt: skip


def write(rng: Rng, folder: Path) -> Path:
    """A hostile configuration in the folder."""
    path = folder / "study.toml"
    kind = rng.random()
    if kind < 0.15:
        content = damage(rng, load().to_toml().encode(), (b"=", b"[", b'"'))
    elif kind < 0.25:
        content = TEXT_FORMS[rng.integers(len(TEXT_FORMS))].encode("utf-8")
    else:
        content = format_toml(settings(rng)).encode("utf-8", "surrogateescape")
        if rng.random() < 0.1:
            content = damage(rng, content, (b"=",))
    path.write_bytes(content)
    return path


def overrides(rng: Rng) -> list[str]:
    """What might come after ``--set``."""
    sections = (
        "task",
        "network",
        "risk",
        "output",
        "processes",
        "landscape",
        "",
        "steps",
        "x",
        "processes.gradient_flow",
    )
    found = []
    for _ in range(rng.integers(1, 3) if rng.random() < 0.3 else 0):
        name, key = (
            str(rng.choice(sections)),
            str(rng.choice([*KEYS, "width", "n", "path", "name"])),
        )
        found.append(
            f"{name}.{key}={value(rng)}" if rng.random() < 0.9 else TEXT_FORMS[rng.integers(4)]
        )
    return found


def settings(rng: Rng) -> dict[str, Any]:
    """A study whose every key is now and then left out, bent, or joined by a stranger."""
    names = [name for name in RunConfig.model_fields if rng.random() < 0.5]
    table = {name: _field(rng, _whole(RunConfig.model_fields[name])) for name in names}
    if rng.random() < 0.7:
        table.pop(
            "landscape" if "task" in table or "network" in table or "risk" in table else "task",
            None,
        )
    return _with_strangers(rng, table)


def value(rng: Rng) -> Any:
    """Anything that TOML can say."""
    kind = rng.integers(6)
    if kind == 0:
        return TEXTS[rng.integers(len(TEXTS))]
    if kind == 1:
        return [value(rng) for _ in range(rng.integers(0, 3))]
    if kind == 2:
        return bool(rng.integers(2))
    return NUMBERS[rng.integers(len(NUMBERS))]


def _with_strangers(rng: Rng, table: dict[str, Any]) -> dict[str, Any]:
    if rng.random() < 0.01:
        table[f'"{KEYS[rng.integers(len(KEYS))]}"'] = value(rng)
    return table


def _field(rng: Rng, annotation: Any) -> Any:
    """A value for a field of this type, mostly a good one."""
    if rng.random() < 0.015:
        return value(rng)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return _section(rng, annotation)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return arguments[rng.integers(len(arguments))]
    if origin in (Union, types.UnionType):
        some = [argument for argument in arguments if argument is not type(None)]
        return _field(rng, some[rng.integers(len(some))])
    if origin is dict:
        return _processes(rng, arguments[1])
    if origin is tuple:
        return [_field(rng, arguments[0]) for _ in range(rng.integers(1, 4))]
    if origin is not None:  # Annotated
        for chosen in (about for about in arguments[1:] if isinstance(about, Chosen)):
            sections = list(chosen.sections.values())
            return _section(rng, sections[rng.integers(len(sections))])
        return _field(rng, arguments[0])
    if annotation is bool:
        return bool(rng.integers(2))
    if annotation is int:
        return int(rng.integers(1, 12))
    if annotation is float:
        return float(rng.choice([0.5, 1.0, 0.25, 2.0, 1e-3]))
    return TEXTS[rng.integers(len(TEXTS))]


def _section(rng: Rng, model: type[BaseModel]) -> dict[str, Any]:
    table = {}
    for name, field in model.model_fields.items():
        literal = get_origin(field.annotation) is Literal and len(get_args(field.annotation)) == 1
        if literal or field.is_required() or rng.random() < 0.4:
            table[name] = _field(rng, _whole(field))
    return _with_strangers(rng, table)


def _whole(field: FieldInfo) -> Any:
    """The annotation of a field, of which pydantic keeps type and metadata apart."""
    return Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation


def _processes(rng: Rng, annotation: Any) -> dict[str, Any]:
    names = [
        f'"{KEYS[rng.integers(len(KEYS))]}"' if rng.random() < 0.03 else f"p{i}"
        for i in range(rng.integers(0, 3))
    ]
    return {name: _field(rng, annotation) for name in names}
