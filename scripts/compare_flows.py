"""Every model of gradient descent at the edge of stability on three problems: the tables of docs/comparison.md.

    python scripts/compare_flows.py --out comparison

runs the valley, a matrix factorisation and the digits (some ten minutes on two cores; ``--seeds`` of the digits, ``--only`` one
of them) and writes ``comparison.md`` and one run file with its figure per problem and seed.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from meanfield.study.compare import compare
from meanfield.study.config import Study, load_text
from meanfield.study.figures import save_comparison
from meanfield.study.run import run
from meanfield.study.snapshots import read_run

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
landscape = { name = "valley" }
output = { snapshot_every = 1, sharpness_every = 5 }
""",
    "matrix_factorization": """
learning_rate = 0.077
steps = 400
landscape = { name = "matrix_factorization" }
output = { snapshot_every = 1, sharpness_every = 1 }
""",
    "digits": """
learning_rate = 0.6
steps = 300
output = { snapshot_every = 10, sharpness_every = 10 }
""",
}
COLUMNS = {
    "final_distance": "final distance",
    "max_distance": "largest distance",
    "sharpness_error": "error of S",
    "oscillation_error": "error of tr Σ/η",
    "onset_delay": "onset later by",
    "peak_sharpness": "peak of S",
    "peak_sharpness_time": "at step",
    "loss_error": "rel. error of loss",
    "gradients_per_step": "∇E/step",
    "hvps_per_step": "Hv/step",
    "thirds_per_step": "∇³E/step",
}


def study_of(problem: str, seed: int) -> Study:
    return load_text(f"seed = {seed}\n{PROBLEMS[problem]}{PROCESSES}")


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown; the smallest distance and errors of a column in bold."""
    lines = [" | ".join(["", "process", *COLUMNS.values(), ""]).strip()]
    lines.append("|---" * (1 + len(COLUMNS)) + "|")
    for row in rows:
        lines.append(
            " | ".join(["", row["process"], *(_cell(row, key) for key in COLUMNS), ""]).strip()
        )
    return "\n".join(lines)


def _cell(row: dict[str, Any], key: str) -> str:
    value = row[key]
    if value is None:
        return "–"
    return f"{value:.0f}" if key in ("onset_delay", "peak_sharpness_time") else f"{value:.3g}"


def average(runs: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Means over seeds; None where one is."""
    rows = []
    for same in zip(*runs, strict=True):
        row = {"process": same[0]["process"]}
        for key in COLUMNS:
            values = [r[key] for r in same]
            row[key] = None if None in values else float(np.mean(values))
        rows.append(row)
    return rows


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("comparison"))
    parser.add_argument("--seeds", type=int, default=1, help="draws of the network's start")
    parser.add_argument("--only", choices=PROBLEMS, help="one of the problems")
    options = parser.parse_args(arguments)
    sections = []
    for problem in [options.only] if options.only else PROBLEMS:
        seeds = range(options.seeds if problem == "digits" else 1)
        runs = []
        for seed in seeds:
            folder = options.out / f"{problem}-{seed}"
            record = read_run(run(study_of(problem, seed), folder, force=True))
            save_comparison(record, folder / "figures")
            runs.append(compare(record))
        title = f"{problem}, mean over {len(seeds)} seeds" if len(seeds) > 1 else problem
        sections.append(f"## {title}\n\n{table(average(runs))}\n")
        print(sections[-1])
    (options.out / "comparison.md").write_text("\n".join(sections), encoding="utf-8")


if __name__ == "__main__":
    main()
