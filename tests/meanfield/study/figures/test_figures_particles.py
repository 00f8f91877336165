"""Figures of the particles, read back from files whose particles move as a formula says."""

import shutil
import subprocess

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from meanfield.study import figures
from meanfield.study.analysis.process_views import Snapshot
from meanfield.study.config.run_config import load_text
from meanfield.study.engine.run import run
from meanfield.study.figures import measure, particles
from meanfield.study.figures.phase import draw_point_portrait, phase_portrait
from meanfield.study.storage.schema import OutputError, ProcessLayout
from meanfield.study.storage.writer import read_run
from tests.helpers.written_runs import GD, writer_of

N = 50
START = np.random.default_rng(0).normal(size=(N, 3))
VELOCITY = np.array([0.0, 0.4, 0.1])  # of the parameters a, w, b
DIRECTION = np.array([0.6, 0.8, 0.0])  # of the fluctuation


def center(t):
    return START + t * VELOCITY


def fluctuation(t):
    """Along one direction, alternating in sign over the particles, growing."""
    return 0.1 * 2.0**t * np.outer((-1.0) ** np.arange(N), DIRECTION)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The file of a run of eleven snapshots; the flow has its fluctuation, of the other sign, as the second of two modes."""
    processes = {
        GD: ProcessLayout(GD, has_iterates=True),
        "central": ProcessLayout("central_flow", modes=2),
    }
    folder = tmp_path_factory.mktemp("written")
    with writer_of(folder, processes=processes, particles=N, snapshots=11) as writer:
        for name in processes:
            for t in range(11):
                row = {
                    "train_loss": 1.0,
                    "sharpness": 1.0,
                    "sigma_trace": np.sum(fluctuation(t) ** 2) / N,
                }
                writer.observe(name, t, row)
                u = fluctuation(t) if name == GD else np.stack([0 * START, -fluctuation(t)])
                writer.snapshot(name, t, center(t), u)
    return folder / "run.h5"


def dots(ax):
    """The points of the last cloud drawn."""
    return ax.patches[-1].get_path().vertices[::2]


# --- the phase portrait --------------------------------------------------------------------------


def test_particles_are_drawn_along_the_direction_of_the_fluctuation(written):
    figure = phase_portrait(read_run(written))
    expected = np.stack([center(10) @ DIRECTION, fluctuation(10) @ DIRECTION], axis=1)
    assert [ax.get_title() for ax in figure.axes] == ["gradient descent", "central"]
    for ax in figure.axes:  # of the flow's modes the leading one, of the sign of gradient descent
        np.testing.assert_allclose(dots(ax), expected, atol=1e-12)


def test_the_way_of_a_point_is_its_center_and_the_size_of_its_fluctuation(tmp_path):
    text = """
        learning_rate = 0.3
        steps = 30
        [landscape]
        name = "valley"
        start = [0.001, 7.0]
        [output]
        snapshot_every = 1
        [processes.gradient_descent]
        [processes.central_flow]
    """
    record = read_run(run(load_text(text), tmp_path))
    ax = Figure().subplots()
    draw_point_portrait(ax, record, {name: p.trajectory for name, p in record.processes.items()})
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("center y", "|fluctuation of x|")
    way = next(line for line in ax.lines if line.get_label() == "gradient descent")
    descent = record.processes[GD]
    # the directions are those of the coordinates to first order of what is across them
    np.testing.assert_allclose(way.get_xdata(), descent.trajectory[:, 1], atol=1e-2)
    np.testing.assert_allclose(way.get_ydata(), np.abs(descent.fluctuations[:, 0]), atol=1e-3)
    assert record.processes["central_flow"].fluctuations.shape == (31, 8, 2)


# --- the measure ---------------------------------------------------------------------------------


def test_the_marginals_are_those_that_move_most(written):
    marginals = measure.read_marginals(read_run(written))
    assert marginals.parameters == ("w", "b")
    np.testing.assert_array_equal(marginals.times[GD], np.arange(11))
    for t in range(11):
        np.testing.assert_array_equal(marginals.values[GD][t], center(t)[:, 1:])
    low, high = marginals.ranges[0]
    assert low < START[:, 1].min() and high > center(10)[:, 1].max() - 0.5


def test_a_density_is_the_histogram_seen_through_a_gaussian():
    """N standard normals under a kernel of width h are normal of variance 1 + h², up to sampling."""
    values = np.random.default_rng(0).normal(size=(100_000, 1))
    found = measure.density(values, np.full(100_000, 1e-5), [(-6.0, 6.0)])
    h, x = measure.SMOOTHING * 12 / measure.CELLS, np.linspace(-6, 6, 2 * measure.CELLS + 1)[1::2]
    variance = 1 + h**2
    expected = np.exp(-(x**2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)
    # sampling: √(density/(N·2√π h)) is below 1.8e-3 everywhere; four times that
    assert np.max(np.abs(found - expected)) < 8e-3
    assert np.sum(found) * 12 / measure.CELLS == pytest.approx(1.0, abs=1e-6)


def test_weights_are_masses_and_what_is_not_finite_is_none():
    values = np.array([[0.2, 0.2], [0.8, 0.8], [np.nan, 0.5]])
    found = measure.density(values, np.array([0.3, 0.5, 0.2]), [(0.0, 1.0), (0.0, 1.0)])
    half = measure.CELLS // 2
    cell = 1 / measure.CELLS**2
    assert np.sum(found[:half, :half]) * cell == pytest.approx(0.3)
    assert np.sum(found[half:, half:]) * cell == pytest.approx(0.5)


def test_at_one_time_there_is_no_development(written):
    record = read_run(written)
    marginals = measure.read_marginals(record)
    first = {name: times[:1] for name, times in marginals.times.items()}
    assert measure.measure_over_time(marginals) is not None
    only = measure.Marginals(**(vars(marginals) | {"times": first}))
    assert measure.measure_over_time(only) is None
    assert measure.measure_in_the_plane(only) is not None


def test_a_file_that_is_gone_leaves_its_particles_out(written, tmp_path):
    moved = tmp_path / "run.h5"
    moved.write_bytes(written.read_bytes())
    record = read_run(moved)
    moved.unlink()
    names = {drawn.name for drawn in figures.run_figures(record)}
    assert "oscillation" in names and not names & {"measure", "phase_portrait"}


# --- a bounded part ------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "most"), [(1, 5), (5, 5), (7, 3), (1000, 60)])
def test_snapshots_are_chosen_evenly_with_both_ends(count, most):
    rows = particles.evenly(count, most)
    assert (rows[0], rows[-1]) == (0, count - 1)
    assert len(rows) == len(set(rows)) == min(count, most)
    steps = np.diff(rows)
    assert not len(steps) or steps.max() - steps.min() <= 1


def test_of_many_particles_the_same_random_ones_are_taken_at_all_times():
    count = 3 * particles.MOST_PARTICLES
    positions = np.arange(2.0 * count).reshape(count, 2)
    weights = np.arange(count) / count
    taken = [particles.sample(Snapshot(t, positions + t, positions, weights)) for t in (0.0, 1.0)]
    assert len(np.unique(taken[0][0][:, 0])) == particles.MOST_PARTICLES
    np.testing.assert_array_equal(taken[1][0], taken[0][0] + 1)
    np.testing.assert_array_equal(taken[0][2], taken[0][0][:, 0] / 2 / count)


def test_the_leading_mode_is_that_of_the_covariance():
    modes = np.random.default_rng(0).normal(size=(3, 4, 2))
    flat = modes.reshape(3, -1)
    values, vectors = np.linalg.eigh(flat.T @ flat)
    expected = np.sqrt(values[-1]) * vectors[:, -1]
    found = particles.leading_mode(modes).ravel()
    np.testing.assert_allclose(found * np.sign(found @ expected), expected, atol=1e-12)


# --- the animation -------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.essential
def test_an_animation_has_a_frame_per_snapshot_and_tells_its_progress(written, tmp_path):
    told = []
    out = figures.save_animation(
        written,
        tmp_path / "new/particles.gif",
        GD,
        fps=20,
        progress=lambda *args: told.append(args),
    )
    with Image.open(out) as image:
        assert (image.format, image.n_frames, image.info["duration"]) == ("GIF", 11, 50)
    assert told == [("animation", i, 11) for i in range(1, 12)]


@pytest.mark.parametrize("name", ["valley", "quartic"])
def test_a_single_particle_is_animated_too(tmp_path, name):
    text = f"steps=2\nlearning_rate=0.2\n[landscape]\nname='{name}'\n[output]\nsnapshot_every=1\n[processes.{GD}]"
    path = run(load_text(text), tmp_path / "out")
    with Image.open(figures.save_animation(path, tmp_path / "way.gif", GD)) as image:
        assert image.n_frames == 3


@pytest.mark.parametrize(
    ("out", "process", "fps", "message"),
    [
        ("x.gif", "none", 10, "process must be one of gradient_descent, central, got 'none'"),
        ("x.avi", GD, 10, "format of an animation must be one of gif, mp4, got 'avi'"),
        ("x.gif", GD, 0, "fps must be a number above 0 and at most 100, got 0"),
    ],
)
def test_what_cannot_be_animated_is_refused(written, tmp_path, out, process, fps, message):
    with pytest.raises(ValueError, match=message):
        figures.save_animation(written, tmp_path / out, process, fps)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not shutil.which("ffprobe"), reason="no ffmpeg")
def test_an_mp4_has_a_frame_per_snapshot(written, tmp_path):
    out = figures.save_animation(written, tmp_path / "particles.mp4", GD, fps=20)
    ask = "ffprobe -v error -count_frames -show_entries stream=nb_read_frames,r_frame_rate -of csv=p=0"
    found = subprocess.run([*ask.split(), out], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "20/1,11"


def test_mp4_without_ffmpeg_is_a_clear_error(written, tmp_path, monkeypatch):
    monkeypatch.setattr("matplotlib.animation.FFMpegWriter.isAvailable", lambda: False)
    with pytest.raises(ValueError, match="must be gif where ffmpeg is not installed, got 'mp4'"):
        figures.save_animation(written, tmp_path / "x.mp4", GD)


def test_an_animation_that_cannot_be_written_is_a_clear_error(written, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        figures.save_animation(written, tmp_path / "file/x.gif", GD)
