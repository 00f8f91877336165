"""A width study as plain arrays."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray

PLAN_NAME, STUDY_NAME = "study.toml", "study.h5"
#: Of fewer seeds a percentile bootstrap is no interval: its ends are single seeds, and it may have the estimate on its edge.
LEAST_FOR_INTERVAL = 6
NO_OTHERS = "there are no others"  # of the note about inputs, where they are those of the training

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
    """What the two numbers beside a slope are, of so many seeds; empty where there are none."""
    if seeds >= LEAST_FOR_INTERVAL:
        return "95% interval"
    return f"range of {seeds} seeds" if seeds > 1 else ""


class Pair(NamedTuple):
    """Which process at width N is compared with which process of the reference."""

    process: str
    reference: str

    @property
    def label(self) -> str:
        """As people read it."""
        return f"{self.process} to {self.reference} of the reference".replace("_", " ")


@dataclass(frozen=True)
class StudyRecord:
    """A width study: p pairs of processes, w widths, s seeds, t times.

    distances : by `METRICS`, (p, w, s, t); NaN where there is none.
    floors : of metrics that sampling alone makes positive, (p, w, t): the distance of two independent samples of the reference,
    of N particles each.
    slopes : by metric, (p, t, 3): d log distance / d log N of a straight line through the seeds' medians, and two numbers beside
    it, which `slope_ends` names: the 95% interval by a bootstrap over seeds, of few the range of their slopes, of one NaN.
    statuses : (w, s), of each run: complete, diverged, failed, or missing.
    warnings : what a reader must know before quoting a number.
    attributes : of the file: learning_rate, start ("nested" or "independent"), reference_width, created, versions_json, …
    config : TOML of the run that was repeated; its width and seed are not those of any run.
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

    @property
    def slope_ends(self) -> str:
        """What the two numbers beside a slope are; empty where there are none."""
        return ends_of_slopes(len(self.seeds))

    @property
    def held_out(self) -> bool:
        """Whether the inputs of the function distance were not trained on."""
        return not str(self.attributes.get("held_out", NO_OTHERS)).endswith(NO_OTHERS)
