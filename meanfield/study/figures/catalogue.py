"""The figures of a run and their captions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from meanfield.study.analysis.comparison import ONSET_LEVEL
from meanfield.study.analysis.stored_run import StoredRun
from meanfield.study.figures.curves import (
    draw_distance,
    draw_energy,
    draw_loss,
    draw_oscillation,
    draw_predicted_loss,
    draw_sharpness,
    energy_balance,
)
from meanfield.study.figures.measure import (
    MOST_PROCESSES,
    measure_in_the_plane,
    measure_over_time,
    read_marginals,
)
from meanfield.study.figures.onset import onset_zoom
from meanfield.study.figures.particles import BOUND
from meanfield.study.figures.phase import phase_portrait
from meanfield.study.figures.places import (
    clouded,
    draw_clouds,
    draw_trajectories,
    has_trajectories,
    particle_clouds,
    trajectories,
)
from meanfield.study.figures.style import (
    Drawing,
    Drawn,
    is_landscape,
    measured,
    new_figure,
    oscillates,
    share_legend,
    single,
    styled,
    title,
)
from meanfield.study.storage.layout import RunRecord
from solvers._support.arguments import refusal


class Entry(NamedTuple):
    """Figures that are drawn together: what each of them shows, by name, and a function that draws those a run has data for."""

    shows: Mapping[str, str]
    draw: Callable[[RunRecord], Iterator[Drawn]]


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
            yield Drawn(self.name, self.title, self.caption.format(**_words(run)), figure)


def _oscillates(run: RunRecord) -> bool:
    return any(oscillates(process) for process in run.processes.values())


def _compared(run: RunRecord) -> bool:
    return any(
        np.any(np.isfinite(values))
        for name, found in run.comparison.items()
        for key, values in found.items()
        if name in run.processes and key in ("center_distance", "w2")
    )


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
    "The {k} of the Hessian at the center, H v = λv, the largest (the sharpness S = λ₁) in broader lines.{iterates} "
    "Dashed: the edge of stability S = 2/η, beyond which an oscillation of gradient descent grows.",
    draw_sharpness,
    partial(measured, key="sharpness"),
)
OSCILLATION = Curves(
    "oscillation",
    "Oscillation energy, measured and predicted",
    "tr Σ/η, measured on gradient descent and predicted by its models",
    "tr Σ/η, Σ the covariance of the fluctuation: measured on gradient descent (broad), predicted by the others. By it the "
    "oscillation raises the loss at the edge of stability: the mean loss is ≈ {E}(w) + ½ tr(HΣ), and HΣ = (2/η)Σ where λ₁ = 2/η.",
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


CURVES = (LOSS, SHARPNESS, OSCILLATION, DISTANCE, ENERGY)


def run_figures(run: StoredRun | RunRecord | str | Path) -> Iterator[Drawn]:
    """Draw, one by one, every figure the run has data for.

    Parameters
    ----------
    run : Result, RunRecord or path
        A run as `meanfield.Result.open` gives it, or what that opens: the file of a run, or its folder.

    Raises
    ------
    ValueError
        It is of another type.
    RunFileError
        The run's file is damaged, or there is none.

    Examples
    --------
    >>> from meanfield.study import figures
    >>> [drawn.name for drawn in figures.run_figures("meanfield-run")][:3]
    ['loss', 'sharpness', 'oscillation']
    """
    return _run_figures(as_record(run))


def all_figures(run: StoredRun | RunRecord | str | Path) -> Iterator[Drawn]:
    """Those of `run_figures`, the overview of them, and the comparison.

    Examples
    --------
    >>> from meanfield.study import figures
    >>> [drawn.name for drawn in figures.all_figures("meanfield-run")][-2:]
    ['overview', 'compare']
    """
    record = as_record(run)
    for entry in (*FIGURES, OVERVIEW, COMPARISON):
        yield from entry.draw(record)


def as_record(run: StoredRun | RunRecord | str | Path) -> RunRecord:
    """A run in any form as plain arrays."""
    if isinstance(run, RunRecord):
        return run
    if isinstance(run, StoredRun):
        return run.record()
    if not isinstance(run, str | Path):
        raise refusal("run", "a meanfield.Result, or the path of a run", run)
    with StoredRun.open(run) as opened:
        return opened.record()


def _run_figures(run: RunRecord) -> Iterator[Drawn]:
    for entry in FIGURES:
        yield from entry.draw(run)


def available(run: RunRecord) -> list[Curves]:
    """The drawings that the run has data for."""
    return [curves for curves in CURVES if curves.has_data(run)]


def _words(run: RunRecord) -> dict[str, str]:
    """Text fragments of captions for this run."""
    spread = (
        " Shaded: up to the distance of gradient descent to itself from a start one rounding away, x₀(1 ± ε), particle by "
        "particle; distances within it cannot be ranked."
    )
    eigs = [p.observables.get("hessian_eigs") for p in run.processes.values()]
    k = max((values.shape[1] for values in eigs if values is not None), default=1)
    point = is_landscape(run)
    return {
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


def _onset(run: RunRecord) -> Iterator[Drawn]:
    with styled():
        figure = onset_zoom(run)
    if figure is not None:
        caption = (
            "Loss (dotted: predicted), sharpness λ₁ with the edge of stability 2/η, and oscillation energy tr Σ/η over one axis "
            "of time. Past λ₁ = 2/η the fluctuation grows by the factor |1 − ηλ₁| per step; the vertical line is where tr Σ of "
            f"gradient descent first reaches {ONSET_LEVEL}."
        )
        yield Drawn("onset", "Onset of the oscillation", caption, figure)


def _measures(run: RunRecord) -> Iterator[Drawn]:
    with styled():
        marginals = read_marginals(run)
        if marginals is None:
            return
        over_time = measure_over_time(marginals)
    of = " and ".join(marginals.parameters)
    about = (
        f"The opacity is the square root of the density, smoothed by a Gaussian of a sixtieth of the axis; of {BOUND}."
        f"{_left_out(run)}"
    )
    if over_time is not None:
        caption = (
            f"Marginals over time of the law μ_t = (1/N) Σᵢ δ_wᵢ of the particles' centers, in {of}, whose marginals move most "
            f"in Wasserstein-2. {about}"
        )
        yield Drawn("measure", "Particle measure over time", caption, over_time)
    with styled():
        plane = measure_in_the_plane(marginals)
    if plane is not None:
        caption = f"Marginal of the particles' centers in the plane of {of}, at the start and at the end of each process. {about}"
        yield Drawn("measure_plane", "Particle measure in the plane", caption, plane)


def _left_out(run: RunRecord) -> str:
    rest = list(run.processes)[MOST_PROCESSES:]
    return f" Not shown: {', '.join(map(title, rest))}." if rest else ""


def _phase(run: RunRecord) -> Iterator[Drawn]:
    with styled():
        figure = phase_portrait(run)
    if figure is None:
        return
    equation = "The free-energy flow is ẇ = −η ∂_w F, u̇ = +η ∂_u F: descent in the center w, ascent in the fluctuation u."
    if is_landscape(run):
        about = (
            "The trajectory of each process in the plane of its center and its fluctuation, along the leading directions of "
            "gradient descent's motion and fluctuation (or of the first process that has one); a dot marks its end. F is even "
            "in u, so |u| is drawn; for several modes the leading one."
        )
    else:
        about = (
            "Each dot is a particle, (⟨θᵢ, q⟩, ⟨uᵢ, q⟩) along the unit vector q that maximises (1/N) Σᵢ ⟨uᵢ, q⟩² where the first "
            "process oscillates most; for several modes the leading one, with the nearest sign where a flow determines uuᵀ only. "
            f"{BOUND.capitalize()}."
        )
    yield Drawn("phase_portrait", "Phase portrait", f"{about} {equation}", figure)


def _places(run: RunRecord) -> Iterator[Drawn]:
    with styled():
        ways, clouds = trajectories(run), particle_clouds(run)
    if ways is not None:
        caption = (
            "The trajectory of the center w(t) in its first two coordinates; a dot marks its end."
        )
        yield Drawn("trajectories", "Trajectories", caption, ways)
    if clouds is not None:
        first = next(iter(clouded(run)))
        caption = (
            "The particles' centers at the start (grey) and at the end, along the two leading singular vectors of "
            f"w(T) − w(0) of {title(first)}."
        )
        if len(run.processes[first].parameter_names) == 1:
            caption = (
                "How the particles' centers are distributed at the start (grey) and at the end."
            )
        yield Drawn("particle_clouds", "Particles", caption, clouds)


def overview(run: RunRecord) -> Iterator[Drawn]:
    """The most important drawings side by side; empty for a run without data."""
    drawings = [curves.draw for curves in available(run)]
    if has_trajectories(run):
        drawings.append(draw_trajectories)
    names = clouded(run)
    if names:
        drawings.append(lambda ax, run: draw_clouds(ax, run, names))
    if not drawings:
        return
    with styled():
        figure = new_figure(6.4, 11)
        axes = figure.subplots(2, 3).flat
        for ax, draw in zip(axes, drawings, strict=False):
            draw(ax, run)
        for unused in axes[len(drawings) :]:
            unused.remove()
        share_legend(figure)
    caption = "Loss, sharpness, oscillation energy, distance to gradient descent, free energy, and where the particles are."
    yield Drawn("overview", "Overview", caption, figure)


def comparison(run: RunRecord) -> Iterator[Drawn]:
    """All processes: the compared quantities over a common time axis."""
    drawings: dict[str, Drawing] = {
        "loss": draw_predicted_loss,
        "sharpness": draw_sharpness,
        "oscillation": draw_oscillation,
        "distance": draw_distance,
    }
    names = {curves.name for curves in available(run)}
    shown = [draw for name, draw in drawings.items() if name in names]
    if not shown:
        return
    with styled():
        figure = new_figure(2.4 * len(shown), 8)
        axes = figure.subplots(len(shown), 1, sharex=True, squeeze=False)[:, 0]
        for ax, draw in zip(axes, shown, strict=True):
            draw(ax, run)
            ax.label_outer()
        share_legend(figure)
    caption = "Predicted loss, eigenvalues, oscillation energy and distance to gradient descent over one axis of time."
    if run.perturbed is not None and "distance" in names:
        caption += " Shaded: gradient descent's distance to itself from a start one rounding away."
    yield Drawn("compare", "Comparison", caption, figure)


#: The figures of a run, in the order in which they are drawn: a new one is a function and its entry here.
FIGURES = (
    *(Entry({curves.name: curves.shows}, curves.drawn) for curves in CURVES),
    Entry(
        {"onset": "loss, sharpness and oscillation energy around the onset of the oscillation"},
        _onset,
    ),
    Entry(
        {
            "measure": "densities over time of the two parameters whose marginals move most",
            "measure_plane": "the density in the plane of these two, at the start and at the end",
        },
        _measures,
    ),
    Entry({"phase_portrait": "center against fluctuation"}, _phase),
    Entry(
        {
            "trajectories": "the way of the center of a landscape of several coordinates",
            "particle_clouds": "the particles at the start and at the end",
        },
        _places,
    ),
)
OVERVIEW = Entry({"overview": "the most important ones side by side"}, overview)
COMPARISON = Entry(
    {"compare": "four quantities of all processes over one axis of time, by `meanfield compare`"},
    comparison,
)


def table() -> str:
    """What the figures of a run show, as a table in Markdown."""
    rows = [
        f"| `{name}` | {shows} |"
        for entry in (*FIGURES, OVERVIEW, COMPARISON)
        for name, shows in entry.shows.items()
    ]
    return "\n".join(["| figure | shows |", "|---|---|", *rows])
