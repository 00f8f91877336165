"""The report of a width study."""

from dataclasses import replace

import numpy as np
import pytest

from meanfield.study.report import make_report, study_sections, write_report
from meanfield.study.storage.schema import RunFileError
from meanfield.study.storage.study_file import write_study
from meanfield.study.storage.study_record import METRICS
from tests.helpers.report_pages import assert_sound, facts, parsed, section, table, warnings, words
from tests.helpers.studies import ENERGY, GD, SLOPE, study

ABOUT = {
    "learning_rate": 0.5,
    "start": "nested",
    "reference_width": 16384,
    "held_out": "1000 fresh inputs",
    "created": "2026-11-21T12:00:00+00:00",
    "versions_json": '{"meanfield": "0.1.0"}',
    "machine_json": '{"cores": 2, "platform": "Linux", "processor": "P<i>", "threads": 2}',
}
CONFIG = 'steps = 150\n\n[task]\nname = "npz"\npath = "/home/u/d.npz"\n\n[network]\nwidth = 7\n'


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    path = folder / "study.h5"
    write_study(study(path=path, attributes=ABOUT, config=CONFIG, warnings=("Beware <b>.",)))
    return folder


@pytest.fixture(scope="module")
def page(folder):
    return assert_sound(make_report(folder).text)


@pytest.fixture
def without_figures(monkeypatch):
    monkeypatch.setattr("meanfield.study.report.figures.study_figures", lambda study: iter(()))


def test_it_says_what_was_studied(page):
    said = facts(page)
    assert said["Widths N"] == "64, 256, 1024, 4096" and said["Seeds"] == "0, 1, 2, 3, 4, 5, 6"
    assert said["Width of the reference"] == "16384" and said["Starts"] == "nested"
    assert said["Learning rate η"] == "0.5" and said["Runs"] == "28 of 28 complete"
    assert said["Task"] == "npz; path d.npz"
    assert said["Network"] == "not recorded"  # its width is that of no run
    assert said["Processor"] == "P<i>" and said["Inputs of the function distance"].endswith(
        "fresh inputs"
    )
    assert words(page.find("body/header/h1")) == "Width study: npz, η = 0.5"


def test_slopes_are_shown_with_their_intervals(page):
    shown = table(page, "Slopes at step 150, each with its 95% interval")
    assert len(shown) == 3
    for pair in shown.values():
        assert pair == dict.fromkeys(METRICS, f"{SLOPE:.2f} [-0.57, -0.43]")
    along = table(page, "Gradient descent to free energy flow of the reference")
    assert list(along["w2"]) == ["0", "50", "100", "150"]
    lead = words(page.find("body/header"))
    assert "N-0.50, 95% interval of the exponent -0.57 to -0.43" in lead and "inside" not in lead


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_few_seeds_have_a_range_and_no_interval(seeds, without_figures):
    text = study_sections.report(study(seeds=seeds)).text
    page = assert_sound(text)
    lead = words(page.find("body/header"))
    assert f"range of {seeds} seeds of the exponent -0.57 to -0.43, too few for an interval" in lead
    table(page, f"Slopes at step 150, each with its range of {seeds} seeds")
    assert "95%" not in text and "bootstrap" not in text and "−½ is" not in text


def test_distances_are_medians_over_seeds_beside_their_floors(page):
    made = study()
    caption = "Distances at step 150: gradient descent to gradient descent of the reference"
    (found,) = (t for t in page.iter("table") if words(t.find("caption")) == caption)
    rows = [[words(cell) for cell in tr] for tr in found.findall("tbody/tr")]
    position = [row[0] for row in rows].index("w2")
    values, floors = made.distances["w2"][0, :, :, -1], made.floors["w2"][0, :, -1]
    assert rows[position][1:] == [f"{np.median(v):.3g}" for v in values]
    assert rows[position + 1][1:] == [f"{v.min():.3g} to {v.max():.3g}" for v in values]
    assert rows[position + 2] == ["floor", *(f"{f:.3g}" for f in floors)]
    # others have no floor
    assert [row[0] for row in rows].count("floor") == len(made.floors)


def test_its_warnings_stand_there_as_they_are(page, folder, without_figures):
    assert warnings(page) == ["Beware <b>."] == list(make_report(folder / "study.h5").warnings)
    assert "1 warning" in words(page.find("body/header"))


def test_every_figure_is_there(page, folder):
    shown = {figure.get("id") for figure in page.iter("figure")}
    assert len(shown) >= 3 and all("width" in name or "slope" in name for name in shown)


def test_runs_that_are_missing_are_seen(without_figures):
    made = study(seeds=2)
    statuses = made.statuses.copy()
    statuses[1, 0], statuses[2, 1] = "missing", "diverged"
    distances = {key: values.copy() for key, values in made.distances.items()}
    for values in distances.values():
        values[:, 1, 0], values[:, 3] = np.nan, np.nan
    report = study_sections.report(replace(made, statuses=statuses, distances=distances))
    page = assert_sound(report.text)
    assert report.status == "incomplete" == words(page.find("body/header/p/span"))
    shown = table(page, "How every run ended")
    assert (shown["seed 0"]["N = 256"], shown["seed 1"]["N = 1024"]) == ("missing", "diverged")
    caption = "Distances at step 150: free energy flow to free energy flow of the reference"
    assert table(page, caption)["N = 4096"]["w2"] == "–"
    assert table(page, caption)["N = 256"]["w2"] == f"{made.distances['w2'][2, 1, 1, -1]:.3g}"


def test_one_seed_has_no_interval(without_figures):
    page = assert_sound(study_sections.report(study(seeds=1)).text)
    shown = table(page, "Slopes at step 150")
    assert set(shown["Gradient descent to gradient descent of the reference"].values()) == {"-0.50"}
    assert "without an interval" in words(page.find("body/header"))
    assert "least to largest" not in words(section(page, "Distances"))


def test_many_times_are_thinned_and_no_times_are_no_error(without_figures):
    made = study()
    times = np.arange(100.0)
    slopes = {key: np.repeat(values[:, :1], 100, axis=1) for key, values in made.slopes.items()}
    distances = {key: np.repeat(v[..., :1], 100, axis=3) for key, v in made.distances.items()}
    floors = {key: np.repeat(v[..., :1], 100, axis=2) for key, v in made.floors.items()}
    long = replace(made, times=times, slopes=slopes, distances=distances, floors=floors)
    page = parsed(study_sections.report(long).text)
    shown = list(table(page, "Free energy flow to free energy flow of the reference")["w2"])
    assert len(shown) == 12 and (shown[0], shown[-1]) == ("0", "99")
    empty = replace(
        made,
        times=times[:0],
        slopes={key: values[:, :0] for key, values in slopes.items()},
        distances={key: values[..., :0] for key, values in distances.items()},
        floors={key: values[..., :0] for key, values in floors.items()},
    )
    assert_sound(study_sections.report(empty).text)


def test_it_lies_in_the_folder_of_the_study(folder, without_figures):
    assert write_report(folder) == folder / "report.html"


def test_a_study_that_is_going_on_is_refused_with_what_to_do(tmp_path):
    (tmp_path / "study.toml").write_text("")
    with pytest.raises(RunFileError, match="got one without study.h5; .*--collect"):
        make_report(tmp_path)


def test_the_processes_of_a_study_are_those_of_its_pairs(page):
    assert f"{GD} to {ENERGY}".replace("_", " ").capitalize() in words(page)
