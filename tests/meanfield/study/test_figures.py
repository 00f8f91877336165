from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure

from meanfield.study import figures
from meanfield.study.layout import OutputError
from meanfield.study.snapshots import read_run
from meanfield.study.styles import LOOKS, looks


@pytest.fixture(scope="module")
def record(small_run):
    return read_run(small_run)


def drawn(draw, record):
    ax = Figure().subplots()
    draw(ax, record)
    return ax


def line(ax, label):
    (found,) = (line for line in ax.lines if line.get_label() == label)
    return found


def test_eta_sharpness_shows_the_measured_values_and_the_edge(record):
    ax = drawn(figures.draw_eta_sharpness, record)
    np.testing.assert_array_equal(line(ax, "edge of stability").get_ydata(), [2.0, 2.0])
    shown = line(ax, "free energy flow")
    np.testing.assert_array_equal(shown.get_xdata(), [0, 3, 6])
    sharpness = record.processes["free_energy_flow"].observables["sharpness"]
    np.testing.assert_allclose(shown.get_ydata(), 0.5 * sharpness[[0, 3, 6]])


def test_every_process_has_one_colour_in_all_figures(record):
    draws = [figures.draw_loss, figures.draw_eta_sharpness, figures.draw_energy]
    for title in ("gradient descent", "gradient flow", "free energy flow"):
        colours = {line(drawn(draw, record), title).get_color() for draw in draws}
        assert len(colours) == 1


def test_processes_with_names_of_their_own_are_told_apart(record):
    flow = record.processes["free_energy_flow"]
    named = replace(record, processes={"one": flow, "two": flow, "gradient_flow": flow})
    found = [look for _, _, look in figures._processes(named)]
    assert len(set(found)) == 3 and found[2] == LOOKS["gradient_flow"]


@pytest.mark.parametrize("own", [0, 5, 9])
def test_nine_processes_are_told_apart_by_colour_and_dashes(own):
    names = [*list(LOOKS)[: 9 - own], *(f"variant{i}" for i in range(own))]
    chosen = looks(names)
    assert list(chosen) == names
    assert len({(look.colour, look.dashes) for look in chosen.values()}) == 9
    # dotted lines are predictions
    assert ":" not in {look.dashes for look in chosen.values()}


def test_many_processes_share_one_legend_that_hides_no_curve(record):
    flow = record.processes["free_energy_flow"]
    many = replace(record, processes={f"flow{i}": flow for i in range(9)}, comparison={})
    drawings = dict(figures._figures(many))
    for name, figure in drawings.items():
        legends = figure.legends, [ax.get_legend() for ax in figure.axes if ax.get_legend()]
        if name == "particle_clouds":  # one process in each
            assert len(figure.axes) == 12 and not figure.legends
        else:
            (legend,) = legends[0]
            assert {f"flow{i}" for i in range(9)} <= {t.get_text() for t in legend.get_texts()}
            assert not legends[1]


def test_losses_below_zero_are_drawn_on_a_linear_axis(record):
    flow = record.processes["free_energy_flow"]
    data = flow.observables
    below = replace(flow, observables=data | {"train_loss": data["train_loss"] - 100.0})
    assert drawn(figures.draw_loss, record).get_yscale() == "log"
    ax = drawn(figures.draw_loss, replace(record, processes={"flow": below}))
    assert ax.get_yscale() == "linear"
    np.testing.assert_array_equal(line(ax, "flow").get_ydata(), data["train_loss"] - 100.0)


def test_a_logarithmic_axis_skips_what_it_cannot_show():
    values = np.array([0.0, 1e-300, 1.0, 1e200, np.inf, np.nan, -1.0])
    np.testing.assert_array_equal(figures._on_log(values)[1:3], values[1:3])
    assert np.isnan(figures._on_log(values)[[0, 3, 4, 5, 6]]).all()


def test_a_run_without_comparison_and_without_snapshots_is_drawn(record, tmp_path):
    empty = {
        key: values[:0] for key, values in record.processes["gradient_flow"].observables.items()
    }
    flow = replace(record.processes["gradient_flow"], observables=empty, first=None, last=None)
    bare = replace(record, processes={"gradient_flow": flow}, comparison={})
    names = {path.stem for path in figures.save_figures(bare, tmp_path)}
    assert names == {"loss", "eta_sharpness", "fluctuation_energy", "energy_balance", "overview"}


def test_a_folder_that_cannot_be_written_is_a_clear_error(record, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        figures.save_figures(record, tmp_path / "file" / "figures")


def test_unknown_formats_are_refused_before_anything_is_drawn(record, tmp_path):
    with pytest.raises(ValueError, match="format: 'gif' came"):
        figures.save_figures(record, tmp_path, ["png", "gif"])
    assert not list(tmp_path.iterdir())
