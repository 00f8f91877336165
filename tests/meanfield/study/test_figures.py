from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure

from meanfield.study import figures
from meanfield.study.figures import curves, style
from meanfield.study.figures.catalogue import overview
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


def test_the_sharpness_is_the_measured_one_and_its_edge_is_two_over_the_learning_rate(record):
    ax = drawn(curves.draw_sharpness, record)
    np.testing.assert_array_equal(line(ax, "edge of stability 2/η").get_ydata(), [4.0, 4.0])
    shown = line(ax, "free energy flow")
    np.testing.assert_array_equal(shown.get_xdata(), [0, 3, 6])
    sharpness = record.processes["free_energy_flow"].observables["sharpness"]
    np.testing.assert_array_equal(shown.get_ydata(), sharpness[[0, 3, 6]])


def test_every_eigenvalue_is_drawn(record):
    ax = drawn(curves.draw_sharpness, record)
    colour = LOOKS["gradient_flow"].colour
    first, second = (line for line in ax.lines if line.get_color() == colour)
    eigenvalues = record.processes["gradient_flow"].observables["hessian_eigs"][[0, 3, 6]]
    np.testing.assert_array_equal(first.get_ydata(), eigenvalues[:, 0])
    np.testing.assert_array_equal(second.get_ydata(), eigenvalues[:, 1])
    assert second.get_linewidth() < first.get_linewidth()


def test_every_process_has_one_colour_in_all_figures(record):
    draws = [curves.draw_loss, curves.draw_sharpness, curves.draw_energy]
    for title in ("gradient descent", "gradient flow", "free energy flow"):
        colours = {line(drawn(draw, record), title).get_color() for draw in draws}
        assert len(colours) == 1


def test_processes_with_names_of_their_own_are_told_apart(record):
    flow = record.processes["free_energy_flow"]
    named = replace(record, processes={"one": flow, "two": flow, "gradient_flow": flow})
    found = [look for _, _, look in style.processes(named)]
    assert len(set(found)) == 3 and found[2] == LOOKS["gradient_flow"]


@pytest.mark.parametrize("own", [0, 5, 9])
def test_nine_processes_are_told_apart_by_colour_and_dashes(own):
    names = [*list(LOOKS)[: 9 - own], *(f"variant{i}" for i in range(own))]
    chosen = looks(names)
    assert list(chosen) == names
    assert len({(look.colour, look.dashes) for look in chosen.values()}) == 9
    # dotted lines are predictions
    assert ":" not in {look.dashes for look in chosen.values()}


def test_losses_below_zero_are_drawn_on_a_linear_axis(record):
    flow = record.processes["free_energy_flow"]
    data = flow.observables
    below = replace(flow, observables=data | {"train_loss": data["train_loss"] - 100.0})
    assert drawn(curves.draw_loss, record).get_yscale() == "log"
    ax = drawn(curves.draw_loss, replace(record, processes={"flow": below}))
    assert ax.get_yscale() == "linear"
    np.testing.assert_array_equal(line(ax, "flow").get_ydata(), data["train_loss"] - 100.0)


def test_a_logarithmic_axis_skips_what_it_cannot_show():
    values = np.array([0.0, 1e-300, 1.0, 1e200, np.inf, np.nan, -1.0])
    np.testing.assert_array_equal(style.on_log(values)[1:3], values[1:3])
    assert np.isnan(style.on_log(values)[[0, 3, 4, 5, 6]]).all()


def test_a_folder_that_cannot_be_written_is_a_clear_error(record, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        figures.save_figures(record, tmp_path / "file" / "figures")


def test_unknown_formats_are_refused_before_anything_is_drawn(record, tmp_path):
    with pytest.raises(ValueError, match="format: 'gif' came"):
        figures.save_figures(record, tmp_path, ["png", "gif"])
    assert not list(tmp_path.iterdir())


def test_nothing_measured_is_nothing_drawn(record, tmp_path):
    empty = {
        key: values[:0] for key, values in record.processes["gradient_flow"].observables.items()
    }
    flow = replace(record.processes["gradient_flow"], observables=empty, first=None, last=None)
    bare = replace(record, processes={"flow": flow}, comparison={})
    assert figures.save_figures(bare, tmp_path) == []
    assert list(overview(bare)) == []
