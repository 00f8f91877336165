"""RMSProp and its averaged dynamics on four classes of images: an MLP and a CNN, set as in the quick start of the central flows.

Squared loss on four classes of CIFAR-10, one-hot, all 3,072 pixels; RMSProp with η = 2e-5, β₂ = 0.99, ε = 1e-7 and bias
correction; five steps of it before its models begin (arXiv:2410.24206 and its code). In float64, as below the edge the
oscillation decays to rounding.

mlp   inputs – 24 – 24 – 4, GELU; ``--width`` for another.
cnn   two convolutions of 3x3 with 8 and 16 channels, GELU, averages over 2x2 pixels, a linear layer.

The images are CIFAR-10's where its official files are found (``--data``, else the usual caches), otherwise the 8x8 digits, which
need a larger rate: ``--rate 2e-4``. So does the CNN, which is far below its edge at 2e-5: ``--rate 3e-4 --steps 120``. ``--page``
puts the table of each network into a page, between ``<!-- rmsprop_mlp -->`` and ``<!-- /rmsprop_mlp -->`` and so on, where
``--models`` are given only their rows; ``--resume`` goes on with the run that the folder has.

    python scripts/compare_rmsprop.py --data PATH --only mlp --out figures --page docs/results/optimizers_on_pixels.md
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import _common as c
import compare_optimizers as optimizers
import numpy as np
from _four_classes import cnn, four_classes, mlp
from _pages import computed, part, splice

import meanfield
from meanfield.study.engine.given import Given
from meanfield.study.storage.schema import FILE_NAME
from meanfield.study.storage.writer import read_run

RULE = {"beta2": 0.99, "eps": 1e-7, "bias_correction": True}
RATE = 2e-5
NETWORKS = {"mlp": mlp, "cnn": cnn}
MODELS = optimizers.models_of("rmsprop", RULE)
FIGURES = ("loss", "effective_sharpness", "distance")


def config_of(steps: int, rate: float = RATE, models: Sequence[str] = tuple(MODELS)) -> Any:
    """The run of RMSProp and these of its models."""
    return meanfield.RunConfig(
        learning_rate=rate,
        steps=steps,
        optimizer="rmsprop",
        warm_start=min(optimizers.WARM, steps),
        output={"snapshot_every": 10, "sharpness_every": 30},
        processes={"rmsprop": RULE} | {name: MODELS[name] for name in models},
    )


def run_on_digits(name: str, n: int, rate: float, steps: int) -> meanfield.Result:
    """The same on n of the 8x8 digits of four classes, small enough for a page of the gallery."""
    task = meanfield.tasks.digits(4 * n, target="classes")
    kind = task.targets.argmax(axis=1)
    images = task.inputs[kind < 4][:n].reshape(-1, 1, 8, 8)
    objective = NETWORKS[name](images, np.eye(4)[kind[kind < 4][:n]], 0)
    config = config_of(steps, rate, ["half_step_delay"])
    return meanfield.run(config, objective=objective)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("figures"), help="where figures go")
    parser.add_argument("--data", type=Path, help="CIFAR-10: its archive or folder")
    parser.add_argument("--only", choices=tuple(NETWORKS), help="one of the networks")
    parser.add_argument("--images", type=int, default=60, help="their number (default: 60)")
    parser.add_argument("--width", type=int, default=24, help="of the MLP (default: 24)")
    parser.add_argument("--steps", type=int, default=620, help="of RMSProp (default: 620)")
    parser.add_argument("--rate", type=float, default=RATE, help="η (default: 2e-5)")
    parser.add_argument("--models", nargs="+", choices=tuple(MODELS), default=tuple(MODELS))
    parser.add_argument("--resume", action="store_true", help=optimizers.RESUME)
    parser.add_argument("--page", type=Path, help="a page that gets the tables")
    args = parser.parse_args(argv)
    images = four_classes(args.data, args.images)
    for name in [args.only] if args.only else NETWORKS:
        sizes = {"width": args.width} if name == "mlp" else {}
        objective = NETWORKS[name](*images, 0, **sizes)
        config = config_of(args.steps, args.rate, args.models)
        folder = args.out / f"image_rmsprop_{name}"
        optimizers.carry_out(config, folder, Given(objective=objective), args.resume)
        with meanfield.Result.open(folder / FILE_NAME) as result:
            present = [figure for figure in FIGURES if figure in result.figures]
            result.draw(present).save(folder / "figures")
        body = list(optimizers.rows(read_run(folder / FILE_NAME)))
        body[0][0] = optimizers.described("rmsprop", {"learning_rate": args.rate} | RULE)
        given = {"images": args.images, "steps": args.steps, "rate": args.rate} | sizes
        shown = " ".join(f"--{key} {value}" for key, value in given.items())
        if list(args.models) != list(MODELS):
            shown += f" --models {' '.join(args.models)}"
        about = computed(f"compare_rmsprop.py --only {name} {shown}")
        rows = optimizers.table(body)
        if args.page is not None and list(args.models) != list(MODELS):
            rows = optimizers.with_rows(part(args.page, f"rmsprop_{name}"), body)
        text = f"{rows}\n\n{about}\n"
        print(f"{name}, {objective.dimension} parameters, {len(images[0])} images\n{text}")
        if args.page is not None:
            splice(args.page, f"rmsprop_{name}", text)


if __name__ == "__main__":
    c.run_script(main)
