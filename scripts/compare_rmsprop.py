"""RMSProp and its averaged dynamics on four classes of images: an MLP and a CNN, set as in the quick start of the central flows.

Squared loss on four classes of CIFAR-10, one-hot; RMSProp with η = 2e-5, β₂ = 0.99, ε = 1e-7 and bias correction; five steps of
it before its models begin (arXiv:2410.24206 and its code). In float64, as below the edge the oscillation decays to rounding.

mlp   inputs – 24 – 24 – 4, GELU.
cnn   two convolutions of 3x3 with 8 and 16 channels, GELU, averages over 2x2 pixels, a linear layer.

The images are CIFAR-10's where its official files are found (``--data``, else the usual caches), otherwise the 8x8 digits, which
need a larger rate: ``--rate 2e-4``. The MLP reaches its edge after 400 steps, the CNN later.

    python scripts/compare_rmsprop.py --data PATH --only mlp --out figures
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import _common as c
import numpy as np
from _four_classes import cnn, four_classes, mlp

import meanfield
from meanfield.study.config.run_config import ConfigError

RULE = {"beta2": 0.99, "eps": 1e-7, "bias_correction": True}
RATE, WARM = 2e-5, 5
NETWORKS = {"mlp": mlp, "cnn": cnn}
MODELS: dict[str, dict[str, Any]] = {
    "half_step_delay": {"flow": "free_energy_flow", "delay": True},
    "rod_flow": {},
    "central_flow": {},
}
FIGURES = ("loss", "effective_sharpness", "distance")


def config_of(steps: int, rate: float = RATE, models: Sequence[str] = tuple(MODELS)) -> Any:
    """The run of RMSProp and those of the models that it has."""
    processes: dict[str, Any] = {"rmsprop": RULE}
    for name in models:
        try:
            meanfield.RunConfig(
                optimizer="rmsprop", processes={"rmsprop": RULE, name: MODELS[name]}
            )
        except ConfigError:
            continue
        processes[name] = MODELS[name]
    return meanfield.RunConfig(
        learning_rate=rate,
        steps=steps,
        optimizer="rmsprop",
        warm_start=min(WARM, steps),
        output={"snapshot_every": 10, "sharpness_every": 20},
        processes=processes,
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
    parser.add_argument("--images", type=int, default=100, help="their number (default: 100)")
    parser.add_argument("--steps", type=int, default=800, help="of RMSProp (default: 800)")
    parser.add_argument("--rate", type=float, default=RATE, help="η (default: 2e-5)")
    parser.add_argument("--models", nargs="+", choices=tuple(MODELS), default=tuple(MODELS))
    args = parser.parse_args(argv)
    images = four_classes(args.data, args.images)
    for name in [args.only] if args.only else NETWORKS:
        objective = NETWORKS[name](*images, 0)
        config = config_of(args.steps, args.rate, args.models)
        folder = args.out / f"image_rmsprop_{name}"
        with meanfield.run(config, folder, objective=objective, force=True) as result:
            print(f"{name}, {objective.dimension} parameters, {len(images[0])} images")
            print(result.compare())
            present = [figure for figure in FIGURES if figure in result.figures]
            result.draw(present).save(folder / "figures")


if __name__ == "__main__":
    c.run_script(main)
