"""The curves over time: what each shows, its caption, and the runs that have data for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from meanfield.study.analysis.comparison import ONSET_LEVEL
from meanfield.study.analysis.words import has_own_optimizer, said
from meanfield.study.figures.curves import (
    draw_distance,
    draw_effective_sharpness,
    draw_energy,
    draw_loss,
    draw_oscillation,
    draw_sharpness,
    energy_balance,
)
from meanfield.study.figures.style import (
    Drawing,
    Drawn,
    is_landscape,
    measured,
    oscillates,
    single,
    styled,
)
from meanfield.study.storage.schema import RunRecord


class Curves(NamedTuple):
    """A drawing in one pair of axes, and the condition for it; the figure of its own may have more axes."""

    name: str
    title: str
    shows: str
    caption: str
    draw: Drawing
    has_data: Callable[[RunRecord], bool]
    figure: Callable[[RunRecord], Figure] | None = None

    def drawn(self, run: RunRecord) -> Iterator[Drawn]:
        """The figure of a run that has data for it."""
        if self.has_data(run):
            with styled():
                figure = single(self.draw, run) if self.figure is None else self.figure(run)
            caption = said(run, self.caption).format(**_words(run))
            yield Drawn(self.name, said(run, self.title), caption, figure)


def _oscillates(run: RunRecord) -> bool:
    return any(oscillates(process) for process in run.processes.values())


def _compared(run: RunRecord) -> bool:
    return any(
        np.any(np.isfinite(values))
        for name, found in run.comparison.items()
        for key, values in found.items()
        if name in run.processes and key in ("center_distance", "w2")
    )


def _has_other_edges(run: RunRecord) -> bool:
    """Whether a process has another threshold than gradient descent's, S = 2/η."""
    for process in run.processes.values():
        data = process.observables
        if "effective_sharpness" not in data:
            continue
        of_descent = 0.5 * run.learning_rates.at(data["time"]) * data["sharpness"]
        own = data["effective_sharpness"]
        both = np.isfinite(own) & np.isfinite(of_descent)
        if not np.allclose(own[both], of_descent[both], rtol=1e-6, atol=0.0):
            return True
    return False


LOSS = Curves(
    "loss",
    "Loss and predicted loss",
    "loss at the center, the average that center and fluctuation predict; shaded: between which values the iterates alternate",
    "Lines: {E}(w) at the center w. Dotted: the time-averaged loss that center and fluctuation u predict, "
    "½[{E}(w+u) + {E}(w−u)] ≈ {E}(w) + ½ tr(HΣ), Σ the covariance of u and H = ∇²{E}(w). Shaded: between which values the "
    "iterates of gradient descent alternate, x_k = w_k + (−1)ᵏ u_k; its predicted loss is the mean of two consecutive ones.",
    draw_loss,
    partial(measured, key="train_loss"),
)
SHARPNESS = Curves(
    "sharpness",
    "Sharpness",
    "the largest eigenvalues of the Hessian at the center, and the edge of stability 2/η",
    "The {k} of the Hessian at the center, H v = λv, the largest (the sharpness S = λ₁) in broader lines.{iterates}{batches}"
    "{edges}",
    draw_sharpness,
    partial(measured, key="sharpness"),
)
EFFECTIVE_SHARPNESS = Curves(
    "effective_sharpness",
    "Sharpness over its threshold",
    "the top eigenvalue of the preconditioned Hessian over each optimizer's own threshold",
    "λ₁(P⁻¹H) over the threshold of the process's own rule. Without a memory P = 1/η and the threshold is 2; momentum has "
    "another threshold, RMSProp and Adam P = diag(√ν + ε)/η. Dashed: the edge of stability of all of them, 1.",
    draw_effective_sharpness,
    _has_other_edges,
)
OSCILLATION = Curves(
    "oscillation",
    "Oscillation energy, measured and predicted",
    "tr Σ/η, measured on gradient descent and predicted by its models",
    "tr Σ/η, Σ the covariance of the fluctuation: measured on gradient descent (broad), predicted by the others.{raises}",
    draw_oscillation,
    _oscillates,
)
DISTANCE = Curves(
    "distance",
    "Distance to gradient descent",
    "distance of the centers to gradient descent's, particle by particle and in Wasserstein-2, with its own one rounding away",
    "Distance of the centers w to those of gradient descent, {metric}.{spread} The vertical line is the onset: where tr Σ of "
    f"gradient descent first reaches {ONSET_LEVEL}.",
    draw_distance,
    _compared,
)
ENERGY = Curves(
    "free_energy",
    "Free energy and dissipation",
    "change of the free energy, the integral of its rate along the flow, and their difference",
    "Broad: the change of F = ½[{E}(w+u) + {E}(w−u)] − |u|²/η. Thin: the integral of its rate along the flow; for the "
    "free-energy flow dF/dt = −η|∂_w F|² + η|∂_u F|². Below: the absolute difference of the two, zero in exact time. Maps "
    "such as gradient descent have no rate.",
    draw_energy,
    partial(measured, key="free_energy"),
    energy_balance,
)


CURVES = (LOSS, SHARPNESS, EFFECTIVE_SHARPNESS, OSCILLATION, DISTANCE, ENERGY)


def available(run: RunRecord) -> list[Curves]:
    """The drawings that the run has data for."""
    return [curves for curves in CURVES if curves.has_data(run)]


def _words(run: RunRecord) -> dict[str, str]:
    """Text fragments of captions for this run."""
    spread = said(
        run,
        " Hatched: up to the distance of gradient descent to itself from a start one rounding away, x₀(1 ± ε), particle by "
        "particle; distances within it cannot be ranked.",
    )
    eigs = [p.observables.get("hessian_eigs") for p in run.processes.values()]
    k = max((values.shape[1] for values in eigs if values is not None), default=1)
    point = is_landscape(run)
    edge = " Dashed: the edge of stability S = 2/η, beyond which an oscillation of gradient descent grows."
    raises = (
        " By it the oscillation raises the loss at the edge of stability: the mean loss is ≈ "
        f"{'E' if point else 'R'}(w) + ½ tr(HΣ), and HΣ = (2/η)Σ where λ₁ = 2/η."
    )
    own_edges = " Dashed: the edge of stability, λ₁ over its ratio to the threshold of P⁻¹H, beyond which an oscillation grows."
    batches = (
        " Dotted: the curvature of batches along their own gradients, E⟨g, Hg⟩/E|g|²."
        if measured(run, "batch_sharpness")
        else ""
    )
    return {
        "edges": own_edges if has_own_optimizer(run) else edge,
        "raises": "" if has_own_optimizer(run) else raises,
        "batches": batches,
        "E": "E" if point else "R",
        "spread": "" if run.perturbed is None else spread,
        "iterates": " Dots: the largest at the iterates x_k of the discrete maps instead, x_k = w_k + (−1)ᵏ u_k."
        if measured(run, "iterate_sharpness")
        else "",
        "k": "largest eigenvalue" if k == 1 else f"{k} largest eigenvalues",
        "metric": "|w − w_GD|"
        if point
        else "particle by particle, √((1/N) Σᵢ |wᵢ − wᵢ_GD|²), and (circles) as measures, in Wasserstein-2",
    }
