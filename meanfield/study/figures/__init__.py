"""Figures of runs and of width studies: one style, one colour per process, no global state of matplotlib."""

from meanfield.study.figures import _matplotlib  # noqa: F401
from meanfield.study.figures.animation import ANIMATIONS, save_animation
from meanfield.study.figures.catalogue import all_figures, run_figures
from meanfield.study.figures.evolution import density_over_time, energy_over_time
from meanfield.study.figures.inline import svg
from meanfield.study.figures.palette import looks
from meanfield.study.figures.save import FORMATS, save_comparison, save_drawn, save_figures
from meanfield.study.figures.selection import chosen_figures
from meanfield.study.figures.style import PALE, STEPS, STYLE, Drawn
from meanfield.study.figures.widths import study_figures

__all__ = [
    "ANIMATIONS",
    "FORMATS",
    "PALE",
    "STEPS",
    "STYLE",
    "Drawn",
    "all_figures",
    "chosen_figures",
    "density_over_time",
    "energy_over_time",
    "looks",
    "run_figures",
    "save_animation",
    "save_comparison",
    "save_drawn",
    "save_figures",
    "study_figures",
    "svg",
]
