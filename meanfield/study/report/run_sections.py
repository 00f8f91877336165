"""The report of one run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from meanfield.study.analysis.comparison import (
    compare,
    comparison_cell,
    metrics,
    spread_notes,
    spread_row,
)
from meanfield.study.analysis.energy_balance import balance
from meanfield.study.analysis.summary import quantities, summarize, summary_cell
from meanfield.study.analysis.words import has_own_optimizer, said
from meanfield.study.report import about
from meanfield.study.report.document import Report
from meanfield.study.report.figures import Illustrations
from meanfield.study.report.markup import (
    Html,
    Row,
    equation,
    facts,
    paragraph,
    spoken,
    table,
)
from meanfield.study.report.page import Page, Section, lead, warning_section
from meanfield.study.report.source import settings
from meanfield.study.report.validity import run_warnings
from meanfield.study.storage.observables import OBSERVABLES
from meanfield.study.storage.schema import ProcessRecord, RunRecord

BALANCE = {
    "start": "F at the start",
    "end": "F at the end",
    "integral": "integral of its rate",
    "residual": "largest residual",
    "relative": "over the largest change of F",
}


def report(run: RunRecord) -> Report:
    """The report of a run."""
    warnings = run_warnings(run)
    figures = Illustrations.of_run(run)
    status = str(run.attributes.get("status", about.UNKNOWN))
    sections = [
        Section("What was run", [facts(_facts(run))]),
        warning_section(warnings),
        Section("Results", [_summary(run), *_diagnostics(run)]),
        *_comparison(run),
        Section("Energy balance", [*_energy(run), *figures.take("free_energy")]),
        *figures.sections(),
        about.making(run.attributes, run.config, "meanfield run config.toml"),
    ]
    page = Page(_title(run), lead(status, len(warnings), *_verdict(run)), sections)
    return Report(run.path, "run", status, page.render(), tuple(warnings), figures.names)


def _title(run: RunRecord) -> str:
    steps = settings(run.config).get("steps")
    length = f", {steps} steps" if steps else ""
    return (
        f"Run: {spoken(about.problem_name(run.config, run.attributes))}, η = {_rates(run)}{length}"
    )


def _rates(run: RunRecord) -> str:
    """In words: 0.1, then 1 from step 100."""
    first, *others = run.learning_rates.learning_rate
    return ", then ".join(
        [f"{first[1]:g}", *(f"{rate:g} from step {step}" for step, rate in others)]
    )


def _verdict(run: RunRecord) -> Iterator[Html]:
    """The results in a few sentences."""
    name = run.reference
    if name is None or run.processes[name].status != "complete":
        return
    data = run.processes[name].observables
    scaled = run.learning_rates.at(data["time"]) * data["sharpness"]
    what, edge = "η·sharpness", 2
    if has_own_optimizer(run):
        scaled, what, edge = data["effective_sharpness"], "sharpness over its threshold", 1
    measured = scaled[np.isfinite(scaled)]
    if len(measured):
        text = (
            f"Gradient descent ends at {what} = {measured[-1]:.4g}, and had {measured.max():.4g} at most; "
            f"the edge of stability is at {edge}."
        )
        yield paragraph(said(run, text))
    if len(run.processes) > 1:
        yield from (paragraph(said(run, text)) for text in _ranking(compare(run)))


def _ranking(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Which process ends closest to gradient descent, among those beyond its rounding spread."""
    perturbed = spread_row(rows)
    models = {
        row["process"]: row
        for row in rows[1:]
        if row is not perturbed
        and row["final_distance"] is not None
        and row["status"] == "complete"
    }
    if not models:
        return
    ends = {name: row["final_distance"] for name, row in models.items()}
    near, far = (choose(ends, key=lambda name: ends[name]) for choose in (min, max))
    within = [name for name, row in models.items() if row["final_distance_within"]]
    rest = f"; farthest: {spoken(far)}, {ends[far]:.3g}" if far not in (near, *within) else ""
    if within:
        names = ", ".join(f"{spoken(name)} ({ends[name]:.3g})" for name in within)
        yield (
            "Within the rounding spread of gradient descent at the end, and not ranked: "
            f"{names}{rest}."
        )
    else:
        yield f"Closest to it at the end: {spoken(near)}, at a distance of {ends[near]:.3g}{rest}."


def _facts(run: RunRecord) -> about.Facts:
    yield "File", run.path.name
    yield from about.problem_facts(run.config, run.attributes)
    yield from about.given_facts(run.attributes)
    edges = ", ".join(f"{2 / rate:.4g}" for rate in run.learning_rates.rates)
    edge = "" if has_own_optimizer(run) else f"; the edge of stability is at 2/η = {edges}"
    yield "Learning rate η", f"{_rates(run)}{edge}"
    yield from about.optimizer_facts(run.config, run.reference)
    yield (
        said(run, "Steps of gradient descent"),
        str(settings(run.config).get("steps", about.UNKNOWN)),
    )
    firsts = [process.first for process in run.processes.values() if process.first is not None]
    if firsts:
        yield "Particles", _size(*firsts[0].shape) + f", {firsts[0].dtype} in the file"
    yield "Seed", f"{run.attributes.get('seed', about.UNKNOWN)}; all processes have the same start"
    described = (_described(name, process) for name, process in run.processes.items())
    yield "Processes", ", ".join(described)
    yield "Took", _duration(run)
    yield from list(about.machine_facts(run.attributes))[:2]


def _size(particles: int, parameters: int) -> str:
    if particles == 1:
        return f"one point of {parameters} coordinate{'s' if parameters > 1 else ''}"
    return f"{particles} of {parameters} parameter{'s' if parameters > 1 else ''}"


def _described(name: str, process: ProcessRecord) -> str:
    return spoken(name) + ("" if name == process.flow else f" ({spoken(process.flow)})")


def _duration(run: RunRecord) -> str:
    clocks = (process.observables["wall_time"] for process in run.processes.values())
    seconds = [float(np.nanmax(clock)) for clock in clocks if np.isfinite(clock).any()]
    if not seconds:
        return about.UNKNOWN
    total = sum(seconds)
    text = f"{total:.3g} s" if total < 100 else f"{total:.0f} s"
    return f"{text}, of all processes together, measurements included"


def _summary(run: RunRecord) -> Html:
    rows = summarize(run)
    for row in rows:  # the reason is given under the warnings
        row["message"] = ""
    body = [
        Row(title, [summary_cell(key, row[key]) for row in rows])
        for key, title in quantities(run).items()
    ]
    return table("The last value of everything measured", _names(rows), body, "quantity")


def _diagnostics(run: RunRecord) -> Iterator[Html]:
    """Diagnostics of the flows: the maximum of each number."""
    body = []
    for name, process in run.processes.items():
        for key in _diagnostic_names(process):
            values = process.observables[key]
            if np.isfinite(values).any():
                largest, last = float(np.nanmax(values)), float(values[np.isfinite(values)][-1])
                cells = [spoken(key), summary_cell("", largest), summary_cell("", last)]
                body.append(Row(spoken(name), cells))
    if body:
        yield table("Diagnostics of the flows", ["diagnostic", "largest", "last"], body, "process")


def _diagnostic_names(process: ProcessRecord) -> list[str]:
    known = {"time", *(one.name for one in OBSERVABLES)}
    return [
        key for key, values in process.observables.items() if key not in known and values.ndim == 1
    ]


def _comparison(run: RunRecord) -> Iterator[Section]:
    if run.reference is None or len(run.processes) < 2:
        return
    rows = compare(run)
    body = [
        Row(title.strip(), [comparison_cell(key, row[key]) for row in rows], title.startswith(" "))
        for key, title in metrics(run).items()
        if key != "status"
    ]
    note = (
        "Distances are root mean squares over particles, at the snapshots. Errors are root mean squares over the times at which "
        "both were measured; losses are averaged over 20 steps first. The oscillation sets in when tr Σ first rises to a level "
        "that gradient descent's own rise defines, the same for all. Evaluations do not count those of the measurements."
    )
    yield Section(
        said(run, "Distance to gradient descent"),
        [
            table(
                said(run, "How close each process stays to gradient descent"),
                _names(rows),
                body,
                "quantity",
            ),
            *(paragraph(spoken(text)) for text in spread_notes(rows)),
            paragraph(said(run, note), class_="note"),
        ],
    )


def _energy(run: RunRecord) -> Iterator[Html]:
    yield paragraph(
        "A flow of center w and fluctuation u changes the free energy ",
        equation("F = ½[E(w + u) + E(w − u)] − |u|²/η"),
        " at the rate ",
        equation("dF/dt = ⟨∂F/∂w, ẇ⟩ + ⟨∂F/∂u, u̇⟩"),
        ", which for the free-energy flow is ",
        equation("−η|∂F/∂w|² + η|∂F/∂u|²"),
        ". The rate is integrated along with the flow, so the residual ",
        equation("|F(t) − F(0) − ∫ (dF/dt) dt|"),
        " is the error of the scheme in time. A map, such as gradient descent, has no rate; the balance of a flow "
        "that does not give its rate is unknown.",
    )
    found = {name: balance(process.observables) for name, process in run.processes.items()}
    body = [
        Row(title, [summary_cell(key, getattr(b, key, None)) for b in found.values()])
        for key, title in BALANCE.items()
    ]
    yield table("Balance of the free energy", list(map(spoken, found)), body, "quantity")


def _names(rows: list[dict[str, str]]) -> list[str]:
    return [spoken(row["process"]) for row in rows]
