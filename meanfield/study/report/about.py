"""What was computed, when, on which machine and with which configuration: common to runs and studies."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from meanfield.study.report.markup import Html, Row, element, facts, html, paragraph, spoken, table
from meanfield.study.report.page import Section
from meanfield.study.report.source import json_attribute, settings, without_folders

UNKNOWN = "not recorded"
Facts = Iterator[tuple[str, str]]


def given(attributes: dict[str, Any]) -> dict[str, Any]:
    """What the run was given in Python beside its configuration: descriptions of flows, an objective, a start."""
    found = json_attribute(attributes, "given_json")
    return {key: value for key, value in found.items() if key in ("flows", "objective", "start")}


def given_facts(attributes: dict[str, Any]) -> Facts:
    """Objects of the caller's own."""
    found = given(attributes)
    if "start" in found:
        yield "Start given in Python", f"an array with the fingerprint {found['start']}"
    flows = found.get("flows")
    if isinstance(flows, dict) and flows:
        shown = (f"{spoken(name)}: {without_folders(str(flow))}" for name, flow in flows.items())
        yield "Flows given in Python", "; ".join(shown)


def problem_name(config: str, attributes: dict[str, Any]) -> str:
    """The name of the task or the landscape, or of an objective given in Python."""
    objective = given(attributes).get("objective")
    if objective is not None:
        return without_folders(str(objective)).partition("(")[0]
    tables = settings(config)
    if "measure" in tables:
        return "a Wasserstein gradient flow"
    section = tables.get("landscape") or tables.get("task") or {}
    return str(section.get("name", "unknown problem")) if isinstance(section, dict) else "unknown"


def problem_facts(config: str, attributes: dict[str, Any], without: tuple[str, ...] = ()) -> Facts:
    """The minimised objective; some keys can be left out."""
    objective = given(attributes).get("objective")
    if objective is not None:
        yield "Objective given in Python", without_folders(str(objective))
        return
    tables = settings(config)
    if "landscape" in tables:
        yield "Landscape", _described(tables["landscape"], without)
        return
    if isinstance(measure := tables.get("measure"), dict):
        energy = measure.get("energy")
        terms = energy.values() if isinstance(energy, dict) else ()
        yield "Energy", " + ".join(map(_value, terms)) or UNKNOWN
        yield "Start", _described(measure.get("initial"), without)
        yield "Space", _described(measure.get("space"), without)
        yield "Steps in time", _described(measure, ("energy", "initial", "space"))
        return
    yield "Task", _described(tables.get("task"), without)
    yield "Network", _described(tables.get("network"), without)
    yield "Risk", _described(tables.get("risk"), without)


def optimizer_facts(config: str, reference: str | None) -> Facts:
    """The optimizer that the other processes model, where the configuration names one, and the warm start."""
    tables = settings(config)
    if "optimizer" in tables and reference is not None:
        processes = tables.get("processes")
        table = processes.get(reference) if isinstance(processes, dict) else None
        yield "Optimizer", f"{spoken(reference)}; {_described(table, ())}"
    if tables.get("warm_start"):
        yield "Warm start", f"{tables['warm_start']} of its steps before its models begin"


def machine_facts(attributes: dict[str, Any]) -> Facts:
    """Machine and time."""
    yield "Started", _moment(attributes.get("created"))
    machine = json_attribute(attributes, "machine_json")
    yield "Processor", str(machine.get("processor", UNKNOWN))
    cores, threads = machine.get("cores", UNKNOWN), machine.get("threads", UNKNOWN)
    yield "Cores", str(cores)
    yield "Threads of a kernel", str(threads)
    yield "Platform", str(machine.get("platform", UNKNOWN))


def making(attributes: dict[str, Any], config: str, command: str) -> Section:
    """Machine, versions, and the complete configuration."""
    versions = json_attribute(attributes, "versions_json")
    rows = [Row(name, [str(version)]) for name, version in sorted(versions.items())]
    schema = f"{attributes.get('schema', UNKNOWN)} {attributes.get('schema_version', '')}".strip()
    repeats = html(" it repeats the run: ", element("code", command))
    if given(attributes):
        repeats = html(
            " it repeats the run, with the same objects: ",
            element("code", 'meanfield.run("config.toml", flows=…, objective=…, start=…)'),
        )
    return Section(
        "How it was computed",
        [
            facts([*machine_facts(attributes), ("Schema of the file", schema)]),
            table("Versions", ["version"], rows, "package") if rows else _unknown("Versions"),
            element("h3", "Configuration"),
            paragraph(
                "With every default. Saved as ",
                element("code", "config.toml"),
                repeats,
                ". Folders of file names are left out.",
            ),
            element("pre", element("code", without_folders(config))),
        ],
    )


def _unknown(what: str) -> Html:
    return paragraph(f"{what}: {UNKNOWN}.")


def _described(section: Any, without: tuple[str, ...]) -> str:
    """A table of the configuration in one line: its name first, then its keys."""
    if not isinstance(section, dict):
        return UNKNOWN
    shown = {key: value for key, value in section.items() if key not in ("name", *without)}
    rest = ", ".join(f"{spoken(key)} {_value(value)}" for key, value in shown.items())
    return "; ".join(filter(None, (spoken(str(section.get("name", ""))), rest))) or UNKNOWN


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        rest = [f"{spoken(key)} {_value(part)}" for key, part in value.items() if key != "name"]
        return f"{value.get('name', '')} ({', '.join(rest)})".strip()
    if isinstance(value, str):
        return without_folders(f'"{value}"')[1:-1]  # quoted paths may contain spaces
    return str(value)


def _moment(created: Any) -> str:
    try:
        moment = datetime.fromisoformat(str(created))
    except ValueError:
        return UNKNOWN
    return f"{moment:%Y-%m-%d %H:%M:%S} {moment.tzname() or ''}".strip()
