"""What the curves of a run's figures are, against the numbers in the run and closed forms."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

import meanfield
from meanfield.study import figures
from meanfield.study.analysis.comparison import compare
from meanfield.study.figures import curves, style
from meanfield.study.figures.catalogue import comparison, overview
from meanfield.study.figures.palette import COLOURS, GREY, look_of, looks
from meanfield.study.figures.selection import shown_by_others
from meanfield.study.storage.schema import OutputError, ProcessRecord, RunRecord
from solvers.flows import FLOWS

GD, ENERGY = "gradient_descent", "free_energy_flow"
TIMES = np.arange(101.0)
GROWTH = 1.5  # of the fluctuation per step, past the edge: |1 − ηλ₁|


def drawn(draw, record):
    ax = Figure().subplots()
    draw(ax, record)
    return ax


def line(ax, label):
    (found,) = (line for line in ax.lines if line.get_label() == label)
    return found


def made(flow, trace, **changes):
    """A process whose fluctuation has a known trace; everything else is one."""
    ones = dict.fromkeys(
        ("train_loss", "predicted_loss", "iterate_loss", "sharpness", "free_energy", "dissipated"),
        np.ones_like(trace),
    )
    times = {"time": TIMES[: len(trace)]}
    data = times | ones | {"sigma_trace": trace, "hessian_eigs": np.ones((len(trace), 1))}
    return ProcessRecord(flow, "complete", "", data, np.empty(0), None, None, **changes)


def run_of(**processes):
    """A run with η = ½ that no file holds."""
    attributes = {"learning_rate": 0.5, "status": "complete"}
    return RunRecord(Path("no/run.h5"), attributes, "", processes, np.empty(0), {})


def oscillating():
    """Gradient descent and a flow whose fluctuations decay to step 40 and grow from there, a plateau at the end."""
    exponent = np.minimum(np.abs(TIMES - 40), 40) - 40
    trace = 2.0 * GROWTH ** (2 * exponent)
    return run_of(gradient_descent=made(GD, trace), free_energy_flow=made(ENERGY, 3 * trace))


# --- each curve ----------------------------------------------------------------------------------


def test_the_sharpness_is_the_measured_one_and_its_edge_is_two_over_the_learning_rate(record):
    ax = drawn(curves.draw_sharpness, record)
    np.testing.assert_array_equal(line(ax, "edge of stability 2/η").get_ydata(), [4.0, 4.0])
    shown = line(ax, "free energy flow")
    np.testing.assert_array_equal(shown.get_xdata(), [0, 3, 6])
    sharpness = record.processes[ENERGY].observables["sharpness"]
    np.testing.assert_array_equal(shown.get_ydata(), sharpness[[0, 3, 6]])


def test_every_eigenvalue_is_drawn_the_largest_broadest(record):
    ax = drawn(curves.draw_sharpness, record)
    colour = look_of("gradient_flow").colour
    first, second = (line for line in ax.lines if line.get_color() == colour)
    eigenvalues = record.processes["gradient_flow"].observables["hessian_eigs"][[0, 3, 6]]
    np.testing.assert_array_equal(first.get_ydata(), eigenvalues[:, 0])
    np.testing.assert_array_equal(second.get_ydata(), eigenvalues[:, 1])
    assert second.get_linewidth() < first.get_linewidth()


def test_the_oscillation_is_the_trace_over_the_learning_rate():
    run = oscillating()
    ax = drawn(curves.draw_oscillation, run)
    shown = line(ax, "gradient descent").get_ydata()
    np.testing.assert_allclose(np.diff(np.log(shown))[41:79], 2 * np.log(GROWTH), rtol=1e-12)
    assert shown[-1] == 2.0 / 0.5
    np.testing.assert_allclose(line(ax, "free energy flow").get_ydata(), 3 * shown)


def test_the_residual_is_what_the_integral_of_the_rate_leaves(record):
    top, bottom = curves.energy_balance(record).axes
    data = record.processes[ENERGY].observables
    colour = look_of(ENERGY).colour
    change, integral = (line for line in top.lines if line.get_color() == colour)
    (residual,) = (line for line in bottom.lines if line.get_color() == colour)
    np.testing.assert_array_equal(change.get_ydata(), data["free_energy"] - data["free_energy"][0])
    np.testing.assert_array_equal(integral.get_ydata(), data["dissipated"])
    # at the start it is zero, which a logarithmic axis has no place for
    expected = np.abs(change.get_ydata() - integral.get_ydata())
    np.testing.assert_array_equal(residual.get_ydata()[1:], expected[1:])
    assert GD not in {line.get_label() for line in bottom.lines}  # maps have no rate


def test_the_distance_is_the_stored_one_with_the_onset_where_compare_has_it():
    run = oscillating()
    found = {"center_distance": TIMES[::10] ** 2, "w2": TIMES[::10]}
    run = replace(run, comparison_times=TIMES[::10], comparison={ENERGY: found})
    ax = drawn(curves.draw_distance, run)
    np.testing.assert_array_equal(line(ax, "free energy flow").get_ydata(), TIMES[::10] ** 2)
    circles = [line for line in ax.lines if line.get_marker() == "o" and len(line.get_xdata())]
    assert any(np.array_equal(line.get_ydata(), TIMES[::10]) for line in circles)
    onset = set(line(ax, "_onset").get_xdata())
    # the level is 1% of the end: log(100)/(2 log 1.5) = 5.7 steps before step 80, the next step above it
    assert onset == {compare(run)[0]["onset"]} == {75.0}


def test_the_loss_of_the_iterates_is_shaded_between_consecutive_ones(record):
    ax = drawn(curves.draw_loss, record)
    (band,) = ax.collections
    loss = record.processes[GD].observables["iterate_loss"]
    heights = {y for _, y in band.get_paths()[0].vertices}
    assert {min(loss[0], loss[1]), max(loss[0], loss[1])} <= heights


def test_losses_below_zero_are_drawn_on_a_linear_axis(record):
    flow = record.processes[ENERGY]
    data = flow.observables
    below = replace(flow, observables=data | {"train_loss": data["train_loss"] - 100.0})
    assert drawn(curves.draw_loss, record).get_yscale() == "log"
    ax = drawn(curves.draw_loss, replace(record, processes={"flow": below}))
    assert ax.get_yscale() == "linear"
    np.testing.assert_array_equal(line(ax, "flow").get_ydata(), data["train_loss"] - 100.0)


# --- around the onset ----------------------------------------------------------------------------


def test_the_zoom_is_around_the_onset_over_one_axis_of_time():
    zoom = next(d for d in figures.run_figures(oscillating()) if d.name == "onset")
    top, middle, bottom = zoom.figure.axes
    assert top.get_xlim() == middle.get_xlim() == bottom.get_xlim() == (55.0, 95.0)
    for ax in zoom.figure.axes:
        assert set(line(ax, "_onset").get_xdata()) == {75.0}
    assert line(bottom, "gradient descent").get_xdata()[0] == 55.0


@pytest.mark.parametrize("trace", [np.ones(101), 0.5**TIMES, np.full(101, np.nan)])
def test_without_an_onset_there_is_no_zoom(trace):
    names = {d.name for d in figures.run_figures(run_of(gradient_descent=made(GD, trace)))}
    assert "loss" in names and "onset" not in names


def test_without_gradient_descent_there_is_no_onset():
    flow = oscillating().processes[ENERGY]
    names = {d.name for d in figures.run_figures(run_of(free_energy_flow=flow))}
    assert "oscillation" in names and "onset" not in names


def few_steps(count, last):
    """A run with an onset: the fluctuation grows a thousandfold in its last steps."""
    times = np.arange(float(last + 1))
    run = oscillating()
    grown = {"sigma_trace": np.where(times < last - 3, 1e-6, 1e-3)}
    shown = {}
    for name, process in run.processes.items():
        data = {key: values[: last + 1] for key, values in process.observables.items()}
        data |= grown | {"time": times}
        shown[name] = replace(process, observables=data, first=np.zeros((count, 2)))
    return replace(run, processes=shown)


@pytest.mark.parametrize(
    ("count", "steps", "left_out"),
    [
        (29, 80, ["measure", "measure_plane"]),
        (30, 80, []),
        (30, 20, ["onset"]),
        (8, 20, ["onset", "measure", "measure_plane"]),
    ],
)
def test_what_shows_no_more_than_other_figures(count, steps, left_out):
    assert shown_by_others(few_steps(count, steps)) == left_out


# --- looks ---------------------------------------------------------------------------------------


def test_every_process_has_one_colour_in_all_figures(record):
    draws = [curves.draw_loss, curves.draw_sharpness, curves.draw_energy]
    for title in ("gradient descent", "gradient flow", "free energy flow"):
        colours = {line(drawn(draw, record), title).get_color() for draw in draws}
        assert len(colours) == 1


def test_processes_with_names_of_their_own_are_told_apart(record):
    flow = record.processes[ENERGY]
    named = replace(record, processes={"one": flow, "two": flow, "gradient_flow": flow})
    found = [look for _, _, look in style.processes(named)]
    assert len(set(found)) == 3 and found[2] == look_of("gradient_flow")


@pytest.mark.parametrize("own", [0, 5, 9])
def test_nine_processes_are_told_apart_by_colour_and_dashes(own):
    coloured = [name for name in FLOWS if look_of(name)]
    names = [*coloured[: 9 - own], *(f"variant{i}" for i in range(own))]
    chosen = looks(names)
    assert list(chosen) == names
    assert len({(look.colour, look.dashes) for look in chosen.values()}) == 9
    # dotted lines are predictions
    assert ":" not in {look.dashes for look in chosen.values()}


def linear(colour):
    """The linear red, green and blue of sRGB (IEC 61966-2-1)."""
    c = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def contrast(one, other):
    """Of WCAG 2: the ratio of the relative luminances, each plus 0.05."""
    low, high = sorted(np.array([0.2126, 0.7152, 0.0722]) @ linear(c) for c in (one, other))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("page", ["#FFFFFF", "#181818"])
@pytest.mark.parametrize("colour", [*COLOURS, GREY])
def test_colours_stand_out_on_light_and_dark_pages(colour, page):
    assert contrast(colour, page) >= 3.0


# Machado, Oliveira and Fernandes (2009), severity 1
BLINDNESS = {
    "none": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}  # fmt: skip


@pytest.mark.parametrize("blindness", BLINDNESS)
def test_colour_blind_readers_tell_colours_apart_no_worse_than_okabe_and_itos(blindness):
    def closest(colours):
        seen = np.clip([BLINDNESS[blindness] @ linear(colour) for colour in colours], 0, 1)
        to_xyz = np.array(
            [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
        )
        f = np.cbrt(seen @ to_xyz.T / [0.95047, 1, 1.08883])
        x, y, z = f.T
        lab = np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1)
        distances = np.linalg.norm(lab[:, None] - lab, axis=2)
        return np.min(distances[np.triu_indices(len(colours), 1)])

    assert closest(COLOURS) >= 16.0  # theirs without yellow: 16.05, of blind to blue


def test_a_logarithmic_axis_skips_what_it_cannot_show():
    values = np.array([0.0, 1e-300, 1.0, 1e200, np.inf, np.nan, -1.0])
    np.testing.assert_array_equal(style.on_log(values)[1:3], values[1:3])
    assert np.isnan(style.on_log(values)[[0, 3, 4, 5, 6]]).all()


def test_a_divergence_leaves_the_others_their_axis():
    run = run_of(gradient_descent=made(GD, np.ones(3)), other=made(ENERGY, np.ones(3)))
    run.processes["other"] = replace(run.processes["other"], status="diverged")
    values = {GD: np.array([1.0, 2.0, 3.0]), "other": np.array([1.0, 29.0, 31.0])}
    tamed = style.tamed(run, values)
    np.testing.assert_array_equal(tamed[GD], values[GD])
    np.testing.assert_array_equal(tamed["other"], [1.0, 29.0, np.nan])


# --- many, few, none -----------------------------------------------------------------------------


def test_many_processes_share_one_legend_above_the_axes(record):
    flow = record.processes[ENERGY]
    many = replace(record, processes={f"flow{i}": flow for i in range(12)}, comparison={})
    for name, _, _, figure in figures.run_figures(many):
        assert not any(ax.get_legend() for ax in figure.axes)
        if name == "particle_clouds":  # one process in each
            assert [ax.get_title() for ax in figure.axes] == [f"flow{i}" for i in range(12)]
        else:
            (legend,) = figure.legends
            assert {f"flow{i}" for i in range(12)} <= {t.get_text() for t in legend.get_texts()}


def test_nothing_measured_is_nothing_drawn(record, tmp_path):
    empty = {
        key: values[:0] for key, values in record.processes["gradient_flow"].observables.items()
    }
    flow = replace(record.processes["gradient_flow"], observables=empty, first=None, last=None)
    bare = replace(record, processes={"flow": flow}, comparison={})
    assert figures.save_figures(bare, tmp_path) == []
    assert list(overview(bare)) == list(comparison(bare)) == []


def test_every_figure_has_a_title_and_a_caption_that_states_what_is_plotted(record):
    found = {drawn.name: drawn for drawn in figures.run_figures(record)}
    assert all(drawn.title and drawn.caption.endswith(".") for drawn in found.values())
    assert not any("{" in drawn.caption for drawn in found.values())
    assert "½[R(w+u) + R(w−u)]" in found["loss"].caption
    assert (
        "2 largest eigenvalues" in found["sharpness"].caption
        and "2/η" in found["sharpness"].caption
    )
    assert "tr Σ/η" in found["oscillation"].caption
    assert "−η|∂_w F|² + η|∂_u F|²" in found["free_energy"].caption


# --- files ---------------------------------------------------------------------------------------


def test_a_folder_that_cannot_be_written_is_a_clear_error(record, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        figures.save_figures(record, tmp_path / "file" / "figures")


def test_unknown_formats_are_refused_before_anything_is_drawn(record, tmp_path):
    with pytest.raises(ValueError, match="format must be one of .*got 'gif'"):
        figures.save_figures(record, tmp_path, ["png", "gif"])
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.essential
@pytest.mark.parametrize("suffix", ["svg", "pdf"])  # those that have a date
def test_the_same_data_give_the_same_bytes(record, tmp_path, suffix):
    contents = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        (path,) = figures.save_comparison(record, folder, [suffix])
        contents.append(path.read_bytes())
    assert contents[0] == contents[1]


def test_optimizers_have_a_figure_of_their_own_edges(tmp_path):
    """Drawn where a threshold is another than gradient descent's; its line is at 1."""
    config = meanfield.RunConfig(
        steps=4, learning_rate=0.5, task={"n": 8}, network={"width": 6},
        output={"sharpness_every": 1},
        processes={"gradient_descent": {}, "heavy_ball": {"momentum": 0.5}},
    )  # fmt: skip
    result = meanfield.run(config, tmp_path)
    drawn = {one.name: one for one in figures.run_figures(result)}
    (axes,) = drawn["effective_sharpness"].figure.axes
    lines = {line.get_label(): line for line in axes.get_lines()}
    heavy = result["heavy_ball"].observables
    # ηS/(2(1 + β))
    expected = 0.5 * np.asarray(heavy["sharpness"]) / 3.0
    np.testing.assert_allclose(lines["heavy ball"].get_ydata(), expected, rtol=1e-12)
    assert set(lines["edge of stability"].get_ydata()) == {1.0}
    plain = config.replace(processes={"gradient_descent": {}})
    names = {one.name for one in figures.run_figures(meanfield.run(plain, tmp_path / "plain"))}
    assert "effective_sharpness" not in names
