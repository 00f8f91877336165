"""Some figures, of some processes, for a column of a page."""

import io
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.image import imread
from matplotlib.legend import Legend

import meanfield
from meanfield.study import figures
from meanfield.study.figures.palette import looks
from meanfield.study.figures.selection import length
from meanfield.study.figures.style import WIDTH, Drawn
from tests.helpers.studies import ENERGY, GD, study

INCH = 25.4  # mm


def named(drawn):
    return {one.name: one for one in drawn}


@pytest.mark.parametrize(
    ("width", "inches"),
    [("3.4in", 3.4), ("86 mm", 86 / INCH), ("8.6cm", 86 / INCH), (".25e", None), (3, 3.0), (np.float32(2.5), 2.5)],
)  # fmt: skip
def test_a_width_is_a_length_in_inches_centimetres_or_millimetres(width, inches):
    if inches is None:
        with pytest.raises(ValueError, match="width must be a length"):
            length(width)
    else:
        assert length(width) == pytest.approx(inches, rel=1e-12)


@pytest.mark.parametrize(
    "width", ["3.4", "3.4 pt", "in", "1in", "21in", "-3in", 0, np.nan, np.inf, None, [3], "1e9in"]
)
def test_what_is_no_width_is_refused(width):
    condition = re.escape(
        "width must be a length from 1.5 to 20 inches, such as '3.4in', '8.6cm' or '86mm', got"
    )
    with pytest.raises(ValueError, match=condition):
        length(width)


def test_only_the_named_figures_are_drawn(record):
    drawn = figures.chosen_figures(record, only=["sharpness", "measure_plane", "compare"])
    assert [one.name for one in drawn] == ["sharpness", "measure_plane", "compare"]
    assert [one.name for one in figures.chosen_figures(record, only="loss")] == ["loss"]
    made = figures.chosen_figures(study(), only=["width_slopes"])
    assert [one.name for one in made] == ["width_slopes"]


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"only": "lss"}, "only must be one of 'loss', .*, got 'lss'; did you mean 'loss'"),
        ({"only": ["loss", 3]}, "only must be one of .*got 3"),
        ({"only": "onset"}, "only must be a figure that the run has data for, got 'onset'"),
        ({"only": []}, r"only must be one or more of .*got \[\]"),
        ({"only": 3}, "only must be a name or several, got 3"),
        ({"processes": "gradient_descend"}, "processes must be one of .*did you mean 'gradient_descent'"),
    ],
)  # fmt: skip
def test_unknown_names_are_refused(record, choice, message):
    with pytest.raises(ValueError, match=message):
        figures.chosen_figures(record, **choice)


def test_chosen_processes_keep_their_colours(record):
    flow = record.processes["free_energy_flow"]
    many = replace(record, processes=record.processes | {f"mine{i}": flow for i in range(3)})
    all_looks = looks(many.processes)
    drawn = named(figures.chosen_figures(many, ["sharpness", "loss"], ["mine2", "gradient_flow"]))
    for one in drawn.values():
        lines = {line.get_label(): line.get_color() for line in one.figure.axes[0].lines}
        found = {name: lines[name.replace("_", " ")] for name in ("mine2", "gradient_flow")}
        assert found == {name: all_looks[name].colour for name in found}
        assert "gradient descent" not in lines and "mine0" not in lines


def test_chosen_processes_of_a_study_keep_their_colours():
    whole = named(figures.study_figures(study()))["width_coupled"]
    made = named(figures.chosen_figures(study(), "width_coupled", GD))["width_coupled"]

    def colours(drawn):
        lines = drawn.figure.axes[0].lines
        return {line.get_label(): line.get_color() for line in lines if line.get_marker() == "o"}

    both = {"gradient descent", "gradient descent → free energy flow"}
    assert colours(made) == {name: colours(whole)[name] for name in both}
    with pytest.raises(ValueError, match=f"processes must be one of '{GD}', '{ENERGY}', got 'me'"):
        figures.chosen_figures(study(), processes="me")


@pytest.mark.parametrize("width", ["3.4in", "170mm"])
def test_figures_are_as_wide_as_asked_with_letters_of_the_right_size(record, width):
    inches = length(width)
    size = 8 if inches < 5 else 9
    for source, only in ((record, ["loss", "overview"]), (study(), "width_functions")):
        for _, _, _, figure in figures.chosen_figures(source, only, width=width):
            assert figure.get_figwidth() == pytest.approx(inches)
            texts = [label for ax in figure.axes for label in (ax.xaxis.label, ax.yaxis.label)]
            assert {text.get_fontsize() for text in texts} == {size}
    # and afterwards none of it is left
    assert figures.chosen_figures(record, "loss")[0].figure.get_figwidth() == WIDTH


@pytest.mark.slow
def test_nothing_is_cut_off_or_runs_into_its_neighbour_in_a_narrow_column(record):
    for source in (record, study()):
        for name, _, _, figure in figures.chosen_figures(source, width="3.4in"):
            canvas = FigureCanvasAgg(figure)
            canvas.draw()
            page, renderer = figure.bbox, canvas.get_renderer()
            for ax in figure.axes:
                box = ax.get_tightbbox(renderer)
                assert box.x0 >= page.x0 - 1 and box.x1 <= page.x1 + 1, name
                for axis in (ax.xaxis, ax.yaxis):
                    labels = [t for t in axis.get_ticklabels() if t.get_text() and t.get_visible()]
                    boxes = [label.get_window_extent(renderer) for label in labels]
                    shown = [b for b in boxes if page.contains(b.x0, b.y0)]
                    side = "x" if axis is ax.xaxis else "y"
                    ends = sorted((getattr(b, f"{side}0"), getattr(b, f"{side}1")) for b in shown)
                    assert all(a[1] <= b[0] for a, b in pairwise(ends)), name
            for legend in figure.legends:
                box = legend.get_window_extent(renderer)
                assert box.x0 >= -1 and box.x1 <= page.x1 + 1, name


def test_a_file_has_the_pixels_of_the_printed_width(record, tmp_path):
    (path,) = figures.save_figures(record, tmp_path, only="loss", width="3.4in")
    assert imread(path).shape[1] == round(3.4 * 300)
    (path,) = figures.save_figures(record, tmp_path, ["pdf"], only="loss", width="3.4in")
    box = re.search(rb"/MediaBox \[ 0 0 ([\d.]+) ", path.read_bytes())
    assert float(box[1]) == pytest.approx(3.4 * 72)
    assert b"/Type3" not in path.read_bytes()


def look_of(handle):
    """What tells one entry of a legend from another."""
    if hasattr(handle, "get_linestyle") and hasattr(handle, "get_marker"):
        dashes = handle.get_linestyle(), handle.get_marker(), handle.get_fillstyle()
        return handle.get_color(), dashes, handle.get_linewidth()
    return str(handle.get_facecolor()), str(handle.get_edgecolor()), handle.get_hatch()


def test_no_two_entries_of_the_overview_s_legend_look_alike(record):
    (overview,) = figures.chosen_figures(record, "overview")
    entries = {}
    for ax in overview.figure.axes:
        entries |= dict(zip(*ax.get_legend_handles_labels()[::-1], strict=True)) | entries
    (legend,) = overview.figure.legends
    assert isinstance(legend, Legend)
    assert {text.get_text() for text in legend.get_texts()} == set(entries)
    looks_ = [look_of(handle) for handle in entries.values()]
    assert len({str(look) for look in looks_}) == len(looks_) > 6


# --- in Python --------------------------------------------------------------------------------


def test_a_result_draws_what_is_asked_for(small_run, tmp_path):
    with meanfield.Result.open(small_run) as result:
        drawn = result.draw("loss", ["gradient_descent"], width=3.4)
        assert list(drawn) == ["loss"] and drawn["loss"].get_figwidth() == 3.4
        paths = drawn.save(tmp_path / "paper", ["svg", "png"])
        assert [path.name for path in paths] == ["loss.svg", "loss.png"]
        assert imread(paths[1]).shape[1] == 1020
        with pytest.raises(KeyError, match="name must be one of loss, got 'sharpness'"):
            drawn["sharpness"]
        with pytest.raises(ValueError, match="format must be one of png, svg, pdf, got 'gif'"):
            drawn.save(tmp_path, ["gif"])
        with pytest.raises(ValueError, match="only must be one of"):
            result.draw("losses")


def test_saving_all_figures_of_a_result(small_run, tmp_path):
    with meanfield.Result.open(small_run) as result:
        names = [path.stem for path in result.draw(["loss", "sharpness"]).save(tmp_path)]
    assert names == ["loss", "sharpness"]


def test_a_new_drawing_is_a_figure_of_a_notebook(record):
    (one,) = figures.chosen_figures(record, "loss", width="3in")
    assert isinstance(one, Drawn)
    assert imread(io.BytesIO(one.figure._repr_png_())).shape[1] == 3 * 120


def test_the_example_of_the_page_runs(small_run, tmp_path, monkeypatch):
    page = (Path(__file__).parents[4] / "docs/reference/figures.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    with meanfield.Result.open(small_run) as result:
        exec(block, {"result": result})
    assert sorted(path.name for path in Path("paper").iterdir()) == ["loss.pdf", "sharpness.pdf"]
