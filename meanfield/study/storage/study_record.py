"""A width study as plain arrays."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray

PLAN_NAME, STUDY_NAME = "study.toml", "study.h5"
#: With fewer seeds a percentile bootstrap is not meaningful: its ends are single seeds, and the estimate may be on its boundary.
LEAST_FOR_INTERVAL = 6
NO_OTHERS = "there are no others"  # in the note about inputs, if they are the training inputs

# name: (long name, units); of a process at width N from its reference at width M
METRICS = {
    "coupled_rms": ("root mean square over particles of the distance to the reference's own", "1"),
    "coupled_mean": ("mean over particles of the distance to the reference's own", "1"),
    "coupled_median": ("median over particles of the distance to the reference's own", "1"),
    "w2": ("Wasserstein-2 distance to an independent sample of the reference", "1"),
    "sliced_w2": ("sliced Wasserstein-2 distance to the reference", "1"),
    "sinkhorn": ("square root of the Sinkhorn divergence to the reference", "1"),
    "function_distance": ("root mean square over inputs of the outputs' difference", "1"),
    "free_energy_gap": ("distance of the free energies", "1"),
}


def ends_of_slopes(seeds: int) -> str:
    """The meaning of the two numbers beside a slope for this number of seeds; empty for one seed."""
    if seeds >= LEAST_FOR_INTERVAL:
        return "95% interval"
    return f"range of {seeds} seeds" if seeds > 1 else ""


class Pair(NamedTuple):
    """A process at width N and the process of the reference that it is compared with."""

    process: str
    reference: str

    @property
    def label(self) -> str:
        """A readable label."""
        return f"{self.process} to {self.reference} of the reference".replace("_", " ")


@dataclass(frozen=True)
class StudyRecord:
    """A width study as arrays: p pairs of processes, w widths, s seeds, t times.

    `meanfield.width_study` returns it, and `meanfield.load` reads it from ``study.h5``.

    Attributes
    ----------
    path : Path
        The file.
    attributes : dict
        Of the file: learning_rate, start ("nested" or "independent"), reference_width, created, versions_json, and others.
    config : str
        TOML of the repeated run; its width and seed are not those of any run.
    widths, seeds, times : (w,), (s,), (t,) arrays
        Numbers of particles, seeds, and iterations.
    pairs : tuple of Pair
        Each a process at width N and the process of the reference that it is compared with.
    distances : dict of str to (p, w, s, t) array
        By metric, such as "w2" or "coupled_rms"; NaN where there is none.
    floors : dict of str to (p, w, t) array
        For metrics that are positive by sampling alone: the distance of two independent samples of the reference, of N particles
        each.
    slopes : dict of str to (p, t, 3) array
        By metric: d log distance / d log N of a straight line through the seeds' medians, and the two numbers beside it that
        `slope_ends` names: the 95% interval by a bootstrap over seeds, the range of slopes for few seeds, NaN for one.
    statuses : (w, s) array of str
        Of the runs: complete, diverged, failed, or missing.
    warnings : tuple of str
        About the validity of the numbers.
    all_pairs : tuple of Pair
        Of the file, where `pairs` has a part of them only.

    Examples
    --------
    >>> study = meanfield.load("study")
    >>> study.widths.tolist(), study.pairs[0].process
    ([4, 8], 'gradient_descent')
    >>> study.distances["w2"].shape == (len(study.pairs), 2, 2, len(study.times))
    True
    """

    path: Path
    attributes: dict[str, Any]
    config: str
    widths: NDArray[Any]
    seeds: NDArray[Any]
    times: NDArray[Any]
    pairs: tuple[Pair, ...]
    distances: dict[str, NDArray[Any]]
    floors: dict[str, NDArray[Any]]
    slopes: dict[str, NDArray[Any]]
    statuses: NDArray[Any]
    warnings: tuple[str, ...]
    all_pairs: tuple[Pair, ...] = ()

    @property
    def slope_ends(self) -> str:
        """The meaning of the two numbers beside a slope; empty without them."""
        return ends_of_slopes(len(self.seeds))

    @property
    def held_out(self) -> bool:
        """Whether the inputs of the function distance are not the training inputs."""
        return not str(self.attributes.get("held_out", NO_OTHERS)).endswith(NO_OTHERS)
