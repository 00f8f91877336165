"""The report of a run of a measure."""

from __future__ import annotations

from collections.abc import Iterator

from meanfield.study.analysis.evolution import QUANTITIES, evolution_warnings, summary_of
from meanfield.study.analysis.summary import summary_cell
from meanfield.study.report import about
from meanfield.study.report.document import Report
from meanfield.study.report.figures import Illustrations
from meanfield.study.report.markup import Html, Row, facts, paragraph, spoken, table
from meanfield.study.report.page import Page, Section, lead, warning_section
from meanfield.study.report.source import settings, without_folders
from meanfield.study.storage.measure_schema import PROCESS
from meanfield.study.storage.schema import RunRecord


def report(run: RunRecord) -> Report:
    """The report of a run of a measure."""
    warnings = [without_folders(text) for text in _warnings(run)]
    figures = Illustrations.of_run(run)
    status = str(run.attributes.get("status", about.UNKNOWN))
    sections = [
        Section("What was run", [facts(_facts(run))]),
        warning_section(warnings),
        Section("Results", [_summary(run), _meaning()]),
        *figures.sections(),
        about.making(run.attributes, run.config, "meanfield run config.toml"),
    ]
    title = f"Run: {about.problem_name(run.config, run.attributes)}"
    page = Page(title, lead(status, len(warnings)), sections)
    return Report(run.path, "run", status, page.render(), tuple(warnings), figures.names)


def _facts(run: RunRecord) -> about.Facts:
    yield "File", run.path.name
    yield from about.problem_facts(run.config, run.attributes)
    yield "Learning rate η", f"{float(run.attributes['learning_rate']):g}"
    if "steps" in settings(run.config):
        yield "Steps", str(settings(run.config)["steps"])
    yield "Seed", str(run.attributes.get("seed", about.UNKNOWN))
    yield from list(about.machine_facts(run.attributes))[:2]


def _warnings(run: RunRecord) -> Iterator[str]:
    process = run.processes[PROCESS]
    if process.status == "running":
        yield "The run was running or had been killed when this report was made: its numbers are those of that time."
    elif process.status != "complete":
        yield f"{process.message or process.status}."
    for text in evolution_warnings(run):
        yield f"{text[:1].upper()}{text[1:]}."


def _summary(run: RunRecord) -> Html:
    numbers = summary_of(run.processes[PROCESS])
    rows = [Row(title, [summary_cell(key, numbers[key])]) for key, title in QUANTITIES.items()]
    return table("Where the measure is at the end", [spoken(PROCESS)], rows, "quantity")


def _meaning() -> Html:
    return paragraph(
        "Every step minimises the energy plus the squared Wasserstein distance, and is certified: its energy inequality holds "
        "where the excess is at most 0 up to rounding. The balance of lost energy and dissipation is the error of the scheme in "
        "time, of first or second order in τ.",
        class_="note",
    )
