"""Every model of gradient descent at the edge of stability on three problems: the tables of docs/results/comparison.md.

    python scripts/compare_flows.py --seeds 3 --out comparison --page docs/results/comparison.md

runs the valley, a matrix factorisation and the digits from so many starts each (ten minutes per start on two cores; ``--only``
one of them) and writes ``comparison.md`` and one run file with its figure per problem and start. ``--page`` puts the tables into
a page, between ``<!-- valley -->`` and ``<!-- /valley -->`` and so on. The first start of the
landscapes is the published one, the others are in `STARTS`; those of the digits are draws of the network.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _pages import computed, splice

from meanfield.landscapes import MatrixFactorization
from meanfield.study.analysis.comparison import compare, is_within
from meanfield.study.config.run_config import RunConfig, load_text
from meanfield.study.engine.run import run
from meanfield.study.figures import save_comparison
from meanfield.study.storage.writer import read_run

PROCESSES = """
[processes.gradient_descent]
[processes.gradient_flow]
[processes.free_energy_flow]
[processes.exact_growth]
flow = "free_energy_flow"
growth = "exact"
[processes.half_step_delay]
flow = "free_energy_flow"
delay = true
[processes.rod_flow]
[processes.edge_flow]
[processes.central_flow]
"""
PROBLEMS = {
    "valley": """
learning_rate = 0.3
steps = 1500
landscape = { name = "valley", start = START }
output = { snapshot_every = 1, sharpness_every = 5 }
""",
    "matrix_factorization": """
learning_rate = 0.077
steps = 400
landscape = { name = "matrix_factorization", start = START }
output = { snapshot_every = 1, sharpness_every = 1 }
""",
    "digits": """
learning_rate = 0.6
steps = 300
output = { snapshot_every = 10, sharpness_every = 10 }
""",
}
_PUBLISHED = np.array(MatrixFactorization().start)
# Beside the published ones.
STARTS: dict[str, list[list[float]]] = {
    "valley": [[0.0, 6.0], [0.0, 6.2], [0.3, 5.8]],
    "matrix_factorization": [
        list(_PUBLISHED),
        *(
            list(np.round(_PUBLISHED + 0.1 * np.random.default_rng(s).standard_normal(12), 2))
            for s in (1, 2)
        ),
    ],
}
COLUMNS = {
    "sharpness_error": "error of S",
    "oscillation_error": "error of tr Σ/η",
    "loss_error": "error of loss",
}
EVALUATIONS = ("gradients_per_step", "hvps_per_step", "thirds_per_step")
DISTANCES = ("final_distance",)


def study_of(problem: str, seed: int, steps: int | None = None) -> RunConfig:
    """From the start of a number; of fewer steps, where they are given."""
    text = PROBLEMS[problem]
    if problem in STARTS:
        text = text.replace("START", str([float(x) for x in STARTS[problem][seed]]))
    overrides = {} if steps is None else {"steps": steps}
    return load_text(f"seed = {seed}\n{text}{PROCESSES}").model_copy(update=overrides)


def name_of(problem: str, seed: int) -> str:
    """What a start is called in a table."""
    if problem not in STARTS:
        return f"seed {seed}"
    start = STARTS[problem][seed]
    if len(start) == 2:
        return f"({start[0]:g}, {start[1]:g})"
    return "published" if seed == 0 else f"published + 0.1 normal numbers of seed {seed}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown."""
    lines = [f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows)]
    return "\n".join(lines)


def column(rows: list[dict[str, Any]], key: str) -> list[str]:
    """Of all processes, gradient descent and its perturbed run first; a distance within the latter's has a mark."""
    cells = [_cell(row, key) for row in rows]
    if key not in DISTANCES:
        return cells
    spread, models = rows[1][key], [row[key] for row in rows[2:]]
    within = [
        value is not None and spread is not None and is_within(value, spread) for value in models
    ]
    if not any(within):
        least = min((value for value in models if value is not None), default=None)
        marked = [f"**{c}**" if v == least else c for c, v in zip(cells[2:], models, strict=True)]
    else:
        marked = [f"{c} †" if inside else c for c, inside in zip(cells[2:], within, strict=True)]
    return [*cells[:2], *marked]


def _cell(row: dict[str, Any], key: str) -> str:
    value = row[key]
    if value is None:
        return "–"
    return f"{value:.0f}" if key == "onset_delay" else f"{value:.3g}"


def average(runs: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Means over starts; None where one is."""
    rows = []
    for same in zip(*runs, strict=True):
        row = {"process": same[0]["process"]}
        for key in (*COLUMNS, *EVALUATIONS, "final_distance", "onset_delay"):
            values = [r[key] for r in same]
            row[key] = None if None in values else float(np.mean(values))
        rows.append(row)
    return rows


def distances(rows: list[dict[str, Any]]) -> list[str]:
    """Final distance and, in brackets, how much later the oscillation sets in."""
    delays = [_cell(row, "onset_delay") for row in rows]
    ends = zip(column(rows, "final_distance"), delays, strict=True)
    return [f"{distance} ({late})" for distance, late in ends]


def evaluations(row: dict[str, Any]) -> str:
    """Gradients, Hessian products and third derivatives per iteration."""
    return ", ".join("–" if row[key] is None else f"{row[key]:.3g}" for key in EVALUATIONS)


def section(problem: str, runs: list[list[dict[str, Any]]]) -> str:
    """The table of a problem: distances start by start, then means over the starts."""
    names = [name_of(problem, seed) for seed in range(len(runs))]
    mean = average(runs)
    columns = [
        [row["process"] for row in mean],
        *map(distances, runs),
        *(column(mean, key) for key in COLUMNS),
        list(map(evaluations, mean)),
    ]
    header = ["process", *names, *COLUMNS.values(), "∇E, Hv, ∇³E"]
    return table(header, list(zip(*columns, strict=True)))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("comparison"))
    parser.add_argument(
        "--seeds", type=int, default=1, choices=(1, 2, 3), help="starts of each problem"
    )
    parser.add_argument("--only", choices=PROBLEMS, help="one of the problems")
    parser.add_argument("--steps", type=int, help="fewer of them, to see that it runs")
    parser.add_argument("--page", type=Path, help="a page that gets the tables")
    options = parser.parse_args(arguments)
    sections = []
    for problem in [options.only] if options.only else PROBLEMS:
        runs = []
        for seed in range(options.seeds):
            folder = options.out / f"{problem}-{seed}"
            record = read_run(run(study_of(problem, seed, options.steps), folder, force=True))
            save_comparison(record, folder / "figures")
            runs.append(compare(record))
        body = f"{section(problem, runs)}\n\n{computed(f'compare_flows.py --seeds {len(runs)}')}\n"
        sections.append(f"## {problem}\n\n{body}")
        print(sections[-1])
        if options.page is not None:
            splice(options.page, problem, body)
    (options.out / "comparison.md").write_text("\n".join(sections), encoding="utf-8")


if __name__ == "__main__":
    main()
