"""The figures of a run and their captions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from meanfield.study.analysis.comparison import ONSET_LEVEL
from meanfield.study.analysis.stored_run import StoredRun
from meanfield.study.analysis.words import said
from meanfield.study.figures.curves import (
    draw_distance,
    draw_oscillation,
    draw_predicted_loss,
    draw_sharpness,
)
from meanfield.study.figures.evolution import SHOWS, evolution_figures
from meanfield.study.figures.kinds_of_curves import CURVES, available
from meanfield.study.figures.measure import (
    MOST_PROCESSES,
    measure_in_the_plane,
    measure_over_time,
    read_marginals,
)
from meanfield.study.figures.onset import onset_zoom
from meanfield.study.figures.particles import BOUND
from meanfield.study.figures.phase import phase_portrait
from meanfield.study.figures.style import (
    Drawing,
    Drawn,
    is_landscape,
    new_figure,
    share_legend,
    styled,
    title,
    width_of_figures,
)
from meanfield.study.figures.trajectories import (
    clouded,
    draw_clouds,
    draw_trajectories,
    has_trajectories,
    particle_clouds,
    trajectories,
)
from meanfield.study.storage.schema import RunRecord
from solvers._support.arguments import refusal


class Entry(NamedTuple):
    """Figures that are drawn together: what each of them shows, by name, and a function that draws those a run has data for."""

    shows: Mapping[str, str]
    draw: Callable[[RunRecord], Iterator[Drawn]]


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
    for entry in entries():
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


def _onset(run: RunRecord) -> Iterator[Drawn]:
    with styled():
        figure = onset_zoom(run)
    if figure is not None:
        caption = (
            "Loss (dotted: predicted), sharpness λ₁ with the edge of stability 2/η, and oscillation energy tr Σ/η over one axis "
            "of time. Past λ₁ = 2/η the fluctuation grows by the factor |1 − ηλ₁| per step; the vertical line is where tr Σ of "
            f"gradient descent first reaches {ONSET_LEVEL}."
        )
        yield Drawn("onset", "Onset of the oscillation", said(run, caption), figure)


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
        columns = min(3, max(1, int(width_of_figures(11) / 3)))
        rows = -(-len(drawings) // columns)
        figure = new_figure(2.7 * rows, 11 if columns == 3 else 4.4 * columns)
        axes = figure.subplots(rows, columns, squeeze=False).flat
        for ax, draw in zip(axes, drawings, strict=False):
            draw(ax, run)
        for unused in axes[len(drawings) :]:
            unused.remove()
        share_legend(figure)
    caption = "Loss, sharpness, oscillation energy, distance to gradient descent, free energy, and where the particles are."
    yield Drawn("overview", "Overview", said(run, caption), figure)


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
        figure = new_figure(2.1 * len(shown), 8)
        axes = figure.subplots(len(shown), 1, sharex=True, squeeze=False)[:, 0]
        for ax, draw in zip(axes, shown, strict=True):
            draw(ax, run)
            ax.label_outer()
        share_legend(figure)
    caption = "Predicted loss, eigenvalues, oscillation energy and distance to gradient descent over one axis of time."
    if run.perturbed is not None and "distance" in names:
        caption += " Hatched: gradient descent's distance to itself from a start one rounding away."
    yield Drawn("compare", "Comparison", said(run, caption), figure)


def _of_processes(
    draw: Callable[[RunRecord], Iterator[Drawn]],
) -> Callable[[RunRecord], Iterator[Drawn]]:
    """The same for runs of processes, nothing for a run of a measure."""

    def drawn(run: RunRecord) -> Iterator[Drawn]:
        return iter(()) if run.is_of_measure else draw(run)

    return drawn


#: The figures of a run, in the order in which they are drawn: a new one is a function and its entry here.
FIGURES = (
    *(Entry({curves.name: curves.shows}, _of_processes(curves.drawn)) for curves in CURVES),
    Entry(
        {"onset": "loss, sharpness and oscillation energy around the onset of the oscillation"},
        _of_processes(_onset),
    ),
    Entry(
        {
            "measure": "densities over time of the two parameters whose marginals move most",
            "measure_plane": "the density in the plane of these two, at the start and at the end",
        },
        _of_processes(_measures),
    ),
    Entry({"phase_portrait": "center against fluctuation"}, _of_processes(_phase)),
    Entry(
        {
            "trajectories": "the way of the center of a landscape of several coordinates",
            "particle_clouds": "the particles at the start and at the end",
        },
        _of_processes(_places),
    ),
    Entry(SHOWS, evolution_figures),
)
OVERVIEW = Entry({"overview": "the most important ones side by side"}, _of_processes(overview))
COMPARISON = Entry(
    {"compare": "four quantities of all processes over one axis of time, by `meanfield compare`"},
    _of_processes(comparison),
)


def entries() -> tuple[Entry, ...]:
    """All figures of a run, those of several drawings last."""
    return *FIGURES, OVERVIEW, COMPARISON


def table() -> str:
    """What the figures of a run show, as a table in Markdown."""
    rows = [f"| `{name}` | {shows} |" for entry in entries() for name, shows in entry.shows.items()]
    return "\n".join(["| figure | shows |", "|---|---|", *rows])
