"""Figures of width studies whose law is known."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnchoredOffsetbox

from meanfield.study import figures
from meanfield.study.figures.palette import BLACK
from meanfield.study.figures.widths import draw_against_width, draw_slopes
from meanfield.study.storage.study_record import METRICS, Pair
from tests.helpers.matrices import slow_unless
from tests.helpers.studies import ENERGY, GD, HALF_WIDTH, SLOPE, TIMES, study

NAMES = ["width_coupled", "width_measures", "width_functions", "width_slopes"]
LABEL = "gradient descent"
SLOPE_TEXT = "α = −0.50 (−0.57 to −0.43)"


def against_width(of, metric="w2"):
    ax = Figure().subplots()
    draw_against_width(ax, of, metric)
    return ax


def line(ax, label):
    (found,) = (line for line in ax.lines if line.get_label() == label)
    return found


def slope_texts(ax):
    """Text and colour of the slopes written in a panel."""
    (box,) = (artist for artist in ax.artists if isinstance(artist, AnchoredOffsetbox))
    texts = [area._text for area in box.get_child().get_children()]
    return [(text.get_text(), text.get_color()) for text in texts]


def test_the_line_is_the_median_over_the_seeds_and_the_slope_has_its_colour():
    made = study()
    ax = against_width(made)
    shown = line(ax, LABEL)
    colours = [line.get_color() for line in ax.lines if line.get_marker() == "o"]
    assert slope_texts(ax) == [(SLOPE_TEXT, colour) for colour in colours]
    np.testing.assert_array_equal(shown.get_xdata(), made.widths)
    expected = 4 * 2.0 * made.widths**SLOPE  # w2 is the fourth distance; at the last time
    np.testing.assert_allclose(shown.get_ydata(), expected, rtol=1e-12)


def test_the_fit_runs_through_distances_that_obey_it():
    made = study(pairs=(Pair(GD, GD),))
    ax = against_width(made)
    (fit,) = (line for line in ax.lines if line.get_linestyle() == ":" and len(line.get_xdata()))
    np.testing.assert_allclose(fit.get_ydata(), line(ax, LABEL).get_ydata(), rtol=1e-12)


@pytest.mark.parametrize(("seeds", "ends", "word"), [(5, 0.2, "quartiles"), (3, 0.2, "range")])
def test_the_band_is_the_quartiles_or_of_few_seeds_the_range(seeds, ends, word):
    # factors of the seeds are exp(0.2 k) for k = −2, …, 2 or −1, 0, 1
    made = study(seeds=seeds, pairs=(Pair(GD, GD),))
    ax = against_width(made)
    (band,) = ax.collections
    heights = {round(y, 12) for x, y in band.get_paths()[0].vertices if x == made.widths[0]}
    middle = line(ax, LABEL).get_ydata()[0]
    assert heights == {round(middle * np.exp(s * ends), 12) for s in (-1, 1)}
    drawn = next(figures.study_figures(made))
    assert f"their {word}." in drawn.caption


def test_the_sampling_floor_is_drawn_where_there_is_one():
    made = study()
    floor = line(against_width(made), "sampling floor")
    np.testing.assert_array_equal(floor.get_ydata(), made.floors["w2"][0, :, -1])
    assert "sampling floor" not in {
        line.get_label() for line in against_width(made, "coupled_rms").lines
    }


def test_slopes_along_time_have_their_interval():
    ax = Figure().subplots()
    draw_slopes(ax, study(pairs=(Pair(GD, GD),)), "w2")
    shown = line(ax, "gradient descent")
    np.testing.assert_array_equal(shown.get_xdata(), TIMES)
    np.testing.assert_array_equal(shown.get_ydata(), np.full(4, SLOPE))
    (band,) = ax.collections
    heights = {y for _, y in band.get_paths()[0].vertices}
    assert heights == {SLOPE - HALF_WIDTH, SLOPE + HALF_WIDTH}
    assert set(line(ax, "−½").get_ydata()) == {-0.5}


@pytest.fixture(scope="module")
def all_drawn():
    return list(figures.study_figures(study()))


def test_every_distance_has_a_panel(all_drawn):
    drawn = {one.name: one for one in all_drawn}
    assert list(drawn) == NAMES
    assert [len(drawn[name].figure.axes) for name in NAMES] == [3, 3, 2, len(METRICS)]
    assert all("width 16384" in drawn[name].caption for name in NAMES[:3])


def test_pairs_of_one_process_are_told_apart_by_colour():
    ax = against_width(study())
    colours = [line.get_color() for line in ax.lines if line.get_marker() == "o"]
    assert len(set(colours)) == 3 and colours.count(BLACK) == 1


def test_all_panels_share_one_legend_with_every_label_once(all_drawn):
    for drawn in all_drawn:
        assert not any(ax.get_legend() for ax in drawn.figure.axes)
        (legend,) = drawn.figure.legends
        labels = [text.get_text() for text in legend.get_texts()]
        assert len(set(labels)) == len(labels) and LABEL in labels


def test_only_runs_that_came_to_their_end_count():
    made = study()
    made.statuses[0, :] = "diverged"
    assert np.isnan(line(against_width(made), LABEL).get_ydata()[0])


def test_of_the_reference_s_own_width_nested_distances_are_not_drawn():
    made = study(widths=(64, 256, 16384))
    assert np.isnan(line(against_width(made), LABEL).get_ydata()[2])
    independent = study(widths=(64, 256, 16384), attributes=made.attributes | {"start": "other"})
    assert np.all(np.isfinite(line(against_width(independent), LABEL).get_ydata()))


@pytest.mark.parametrize(
    ("seeds", "said"),
    slow_unless(
        lambda seeds, _: seeds == 5, [(3, "range of the slopes"), (5, "too few"), (6, "95%")]
    ),
)
def test_captions_call_an_interval_what_is_one(seeds, said):
    for drawn in figures.study_figures(study(seeds=seeds)):
        assert said in drawn.caption and ("95%" in drawn.caption) == (seeds >= 6)


@pytest.mark.parametrize(
    ("note", "said"),
    [("9 fresh inputs", "held-out inputs"), ("9 training inputs, there are no others", "training")],
)
def test_inputs_are_called_held_out_where_they_are(note, said):
    made = study()
    made = study(attributes=made.attributes | {"held_out": note})
    drawn = {one.name: one for one in figures.study_figures(made)}
    assert f"mean over {said}" in drawn["width_functions"].caption


def test_a_single_seed_has_no_band_and_no_interval_and_says_so():
    made = study(seeds=1)
    ax = against_width(made)
    assert not ax.collections
    assert slope_texts(ax)[0][0] == "α = −0.50"
    drawn = list(figures.study_figures(made))
    assert "no band" in drawn[0].caption and "no interval" in drawn[0].caption


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"distances": {}, "slopes": {}}, []),
        ({"slopes": {}}, NAMES[:3]),
        ({"widths": (64,)}, NAMES),
        ({"floors": {}}, NAMES),
        ({"pairs": (Pair("mine", ENERGY),)}, NAMES),
    ],
)
def test_what_is_not_there_is_left_out(changes, names):
    assert [drawn.name for drawn in figures.study_figures(study(**changes))] == names


def test_distances_that_are_missing_are_gaps():
    made = study()
    made.distances["w2"][...] = np.nan
    made.distances["sinkhorn"][:, :, 0] = np.nan
    made.distances["sliced_w2"][:, 1:] = 0.0
    drawn = {one.name: one for one in figures.study_figures(made)}
    assert [ax.get_ylabel() for ax in drawn["width_measures"].figure.axes] == [
        "sliced Wasserstein-2",
        "Sinkhorn distance",
    ]
