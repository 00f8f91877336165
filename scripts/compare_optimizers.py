"""Every optimizer and its models on digits and on images: the tables of docs/results/optimizers.md.

    python scripts/compare_optimizers.py --data PATH --out optimizers --page docs/results/optimizers.md

runs gradient descent, heavy ball, Nesterov's rule, scalar RMSProp, RMSProp and Adam, each with the models that it has, on three
problems (``--only`` one of them; some minutes on one core) and writes ``optimizers.md`` and a run file for each.
``--page`` puts the tables into a page, between ``<!-- digits -->`` and ``<!-- /digits -->`` and so on.

digits     the two-layer network on 60 digits, 50 neurons.
image_mlp  3 · 8² – 24 – 24 – 4, GELU, squared loss, 60 images of four classes of CIFAR-10 whose pixels are averaged over
           squares of 4x4; without ``--data``, and without the files in the usual caches, the 8x8 digits.
pixels     the same on all 3,072 pixels, with ``--only pixels`` alone, for docs/results/optimizers_on_pixels.md. Rules that do not
           act entry by entry see the images in an orthonormal basis of their span, which changes only the cost.

Learning rates are such that the rule begins below its edge, but for RMSProp on pixels, and reaches it within the run.
``--resume`` goes on with the runs that the folder has: those that have ended are only read. ``--model rod_flow`` runs the rules
with that model only; with ``--page`` its rows then go into the page's tables, whose other rows stay, the command below them.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import _common as c
import numpy as np
from _four_classes import four_classes, mlp
from _pages import computed, part, splice

from meanfield.study.analysis.comparison import compare, is_within
from meanfield.study.analysis.words import AWAY
from meanfield.study.config.run_config import ConfigError, RunConfig
from meanfield.study.config.stored import load_stored
from meanfield.study.engine.given import Given
from meanfield.study.engine.resume import resume
from meanfield.study.engine.run import run
from meanfield.study.figures import save_comparison
from meanfield.study.storage.checkpoint import Checkpoints
from meanfield.study.storage.schema import FILE_NAME, RunRecord
from meanfield.study.storage.writer import read_run

WARM = 5  # steps of an adaptive rule before its models begin
MODELS: dict[str, dict[str, Any]] = {
    "free_energy_flow": {},
    "half_step_delay": {"flow": "free_energy_flow", "delay": True},
    "rod_flow": {},
    "central_flow": {},
}
#: For each problem its rules, with their learning rates and options.
RULES: dict[str, dict[str, dict[str, Any]]] = {
    "digits": {
        "gradient_descent": {"learning_rate": 0.6},
        "heavy_ball": {"learning_rate": 0.7, "momentum": 0.3},
        "nesterov": {"learning_rate": 0.5, "momentum": 0.3},
        "scalar_rmsprop": {"learning_rate": 0.1, "second_moment": 0.05},
        "rmsprop": {"learning_rate": 0.02, "eps": 1e-2, "bias_correction": True},
        "adam": {"learning_rate": 0.05, "beta1": 0.5, "beta2": 0.99, "eps": 1e-2},
    },
    "image_mlp": {
        "gradient_descent": {"learning_rate": 0.3},
        "heavy_ball": {"learning_rate": 0.4, "momentum": 0.3},
        "nesterov": {"learning_rate": 0.25, "momentum": 0.3},
        "scalar_rmsprop": {"learning_rate": 0.2, "second_moment": 0.47},
        "rmsprop": {"learning_rate": 5e-4, "eps": 1e-7, "bias_correction": True},
        "adam": {"learning_rate": 2e-3, "beta1": 0.5, "beta2": 0.99, "eps": 1e-7},
    },
    "pixels": {
        "gradient_descent": {"learning_rate": 0.04},
        "heavy_ball": {"learning_rate": 0.05, "momentum": 0.3},
        "nesterov": {"learning_rate": 0.03, "momentum": 0.3},
        "scalar_rmsprop": {"learning_rate": 0.04, "second_moment": 1.85},
        "rmsprop": {"learning_rate": 1e-4, "eps": 1e-7, "bias_correction": True},
        "adam": {"learning_rate": 2e-4, "beta1": 0.5, "beta2": 0.99, "eps": 1e-7},
    },
}
STEPS = {"digits": 200, "image_mlp": 80, "pixels": 120}
POOL = {"image_mlp": 4, "pixels": 1}
ENTRYWISE = ("rmsprop", "adam")
RESUME = "go on with the runs in the folder, where they are of the same configuration"
HEADER = (
    "rule", "process", "largest distance", "final distance", "onset later by", "error of loss",
    "error of λ₁ over the threshold", "peak of λ₁ over the threshold",
)  # fmt: skip


def config_of(problem: str, rule: str, steps: int, only: Sequence[str] = ()) -> RunConfig:
    """The run of a rule with all the models that it has, or those of `only`."""
    options = dict(RULES[problem][rule])
    settings: dict[str, Any] = {
        "learning_rate": options.pop("learning_rate"),
        "steps": steps,
        "optimizer": rule,
        "output": {"snapshot_every": 5, "sharpness_every": 5},
    }
    if "beta2" in options or "rmsprop" in rule:
        settings["warm_start"] = min(WARM, steps)
    if problem == "digits":
        settings |= {"task": {"n": 60}, "network": {"width": 50}}
    models = models_of(rule, options)
    chosen = {name: models[name] for name in models if name in (only or models)}
    return RunConfig(**settings, processes={rule: options, **chosen})


def objective_of(problem: str, rule: str, images: Sequence[np.ndarray]) -> Any:
    """The network on the images; None on the digits, which a configuration names."""
    if problem == "digits":
        return None
    return mlp(*images, seed=0, in_span=problem == "pixels" and rule not in ENTRYWISE)


def models_of(rule: str, options: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The models that exist of a rule."""
    return {name: table for name, table in MODELS.items() if _exists(rule, options, table, name)}


def _exists(rule: str, options: Mapping[str, Any], table: Mapping[str, Any], name: str) -> bool:
    try:
        RunConfig(optimizer=rule, processes={rule: options, name: table})
    except ConfigError:
        return False
    return True


def carry_out(config: RunConfig, folder: Path, given: Given, go_on: bool) -> None:
    """Run a configuration in a folder, or go on with the run of it that the folder has."""
    begun = go_on and has_run_of(config, folder)
    file = resume(folder, given=given) if begun else run(config, folder, force=True, given=given)
    if read_run(file).attributes["status"] == "interrupted":
        raise KeyboardInterrupt


def has_run_of(config: RunConfig, folder: Path) -> bool:
    """Whether the folder has a run of this configuration, with an end or a checkpoint."""
    if (checkpoint := Checkpoints(folder).load()) is not None:
        return load_stored(checkpoint.config) == config
    file = folder / FILE_NAME
    return file.is_file() and load_stored(read_run(file).config) == config


def rows(record: RunRecord) -> Iterator[list[str]]:
    """The rule, the rule one rounding away, then its models; a † where a distance is within that of the former two."""
    found = compare(record)
    begin = max(float(one.observables["time"][0]) for one in record.processes.values())
    spread = next(row for row in found if row["process"].endswith(AWAY))
    for row in found:
        name = row["process"]
        shown = "one rounding away" if row is spread else name.replace("_", " ")
        distances = [_distance(row, spread, key) for key in ("max_distance", "final_distance")]
        peak = None
        if name in record.processes:
            data = record.processes[name].observables
            peak = float(np.nanmax(data["effective_sharpness"][data["time"] >= begin]))
        delay = "" if row["onset_delay"] is None else f"{row['onset_delay']:+.0f}"
        if row is found[0]:
            delay = "no onset" if row["onset"] is None else f"(step {row['onset']:.0f})"
        elif found[0]["onset"] is not None and row["onset"] is None:
            delay = "never"
        numbers = [row["loss_error"], row["relative_sharpness_error"], peak]
        status = "" if row["status"] == "complete" else f" ({row['status']})"
        yield ["", shown + status, *distances, delay or "–", *map(_number, numbers)]


def _distance(row: Mapping[str, Any], spread: Mapping[str, Any], key: str) -> str:
    value = row[key]
    if value is None:
        return "–"
    inside = row is not spread and spread[key] is not None and is_within(value, spread[key])
    return f"{value:.3g}{' †' if inside else ''}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"


def described(rule: str, options: Mapping[str, Any]) -> str:
    """A rule with its options, in a table's cell."""
    options = {"η": options["learning_rate"]} | options
    options.pop("learning_rate")
    shown = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in options.items())
    return f"**{rule.replace('_', ' ')}**, {shown}"


def table(body: Sequence[Sequence[str]]) -> str:
    """Markdown."""
    lines = [f"| {' | '.join(cells)} |" for cells in (HEADER, ["---"] * len(HEADER), *body)]
    return "\n".join(lines)


def with_rows(text: str, rows: Sequence[Sequence[str]]) -> str:
    """A table with the models of a rule among these rows, which begin with the rule's, in place of those that it had."""
    lines, new = text.splitlines(), table(rows).splitlines()[2:]
    begin = next(i for i, line in enumerate(lines) if _cell(line, 1) == _cell(new[0], 1)) + 1
    end = next(i for i in range(begin, len(lines)) if _cell(lines[i], 1) != "")
    names = [name.replace("_", " ") for name in MODELS]
    block = {_cell(line, 2): line for line in [*lines[begin:end], *new[1:]]}
    order = sorted(block, key=lambda name: names.index(name) if name in names else -1)
    return "\n".join([*lines[:begin], *(block[name] for name in order), *lines[end:]])


def _cell(line: str, column: int) -> str | None:
    """A cell of a table's row without its remark in brackets; None outside of a table."""
    cells = line.split("|")
    return cells[column].strip().split(" (")[0] if len(cells) > column else None


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("optimizers"))
    parser.add_argument("--data", type=Path, help="CIFAR-10: its archive or folder")
    parser.add_argument("--images", type=int, default=60, help="of the MLP (default: 60)")
    parser.add_argument("--only", choices=RULES, help="one of the problems")
    parser.add_argument("--rule", action="append", help="one of the rules; may be repeated")
    parser.add_argument("--model", action="append", choices=tuple(MODELS), help="likewise")
    parser.add_argument("--steps", type=int, help="fewer of them, to see that it runs")
    parser.add_argument("--read", action="store_true", help="only read the runs in the folder")
    parser.add_argument("--resume", action="store_true", help=RESUME)
    parser.add_argument("--page", type=Path, help="a page that gets the tables")
    options = parser.parse_args(arguments)
    sections = []
    for problem in [options.only] if options.only else [name for name in RULES if name != "pixels"]:
        images: Sequence[np.ndarray] = ()
        if problem != "digits" and not options.read:
            images = four_classes(options.data, options.images, POOL[problem])
        body, on_page = [], part(options.page, problem) if options.page and options.model else ""
        for rule in options.rule or RULES[problem]:
            config = config_of(problem, rule, options.steps or STEPS[problem], options.model or ())
            folder = options.out / f"{problem}-{rule}"
            if not options.read:
                given = Given(objective=objective_of(problem, rule, images))
                carry_out(config, folder, given, options.resume)
            record = read_run(folder / FILE_NAME)
            save_comparison(record, folder / "figures")
            of_rule = list(rows(record))
            of_rule[0][0] = described(rule, RULES[problem][rule])
            body += of_rule
            on_page = with_rows(on_page, of_rule) if on_page else ""
            print(table(of_rule), flush=True)
        chosen = [
            f" --{key} {name}" for key in ("model", "rule") for name in vars(options)[key] or ()
        ]
        stamp = computed(f"compare_optimizers.py --only {problem}{''.join(chosen)}")
        text = f"{on_page or table(body)}\n\n{stamp}\n"
        sections.append(f"## {problem}\n\n{text}")
        if options.page is not None:
            splice(options.page, problem, text)
    (options.out / "optimizers.md").write_text("\n".join(sections), encoding="utf-8")


if __name__ == "__main__":
    c.run_script(main)
