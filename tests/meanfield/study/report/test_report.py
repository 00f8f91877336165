"""The report of a run: what it says, and that it says so for every file there may be."""

import json
import tomllib
from dataclasses import replace
from importlib.resources import files

import h5py
import numpy as np
import pytest

from meanfield.study.analysis.comparison import METRICS, compare, comparison_cell
from meanfield.study.analysis.summary import QUANTITIES, summarize, summary_cell
from meanfield.study.config.run_config import load
from meanfield.study.engine.run import run
from meanfield.study.report import Report, make_report, run_sections, write_report
from meanfield.study.report.source import without_folders
from meanfield.study.storage.schema import OutputError, RunFileError
from meanfield.study.storage.writer import read_run
from tests.helpers.report_pages import assert_sound, facts, parsed, section, table, warnings, words
from tests.helpers.written_runs import ENERGY, GD, write_at, writer_of

HOSTILE = '</code></pre><script>alert("1")</script><img src=x onerror=alert(2)>&amp;]]>'


@pytest.fixture(scope="module")
def made(small_run):
    return make_report(small_run)


@pytest.fixture(scope="module")
def page(made):
    return assert_sound(made.text)


@pytest.fixture
def without_figures(monkeypatch):
    """Reports of words and numbers alone: figures take their time."""
    monkeypatch.setattr("meanfield.study.report.figures.run_figures", lambda run: iter(()))


def copied(small_run, folder, change):
    """A copy of a run's file with something changed."""
    path = folder / "run.h5"
    path.write_bytes(small_run.read_bytes())
    with h5py.File(path, "r+") as file:
        change(file)
    return path


# --- what it says --------------------------------------------------------------------------------


def test_the_tables_hold_the_numbers_of_summary_and_comparison(page, record):
    shown = table(page, "The last value of everything measured")
    for row in summarize(record):
        column = shown[row["process"].replace("_", " ")]
        assert column == {title: summary_cell(key, row[key]) for key, title in QUANTITIES.items()}
    (found,) = section(page, "Distance to gradient descent").iter("table")
    rows = [[words(cell) for cell in tr] for tr in found.findall("tbody/tr")]
    expected = [
        [title.strip(), *(comparison_cell(key, row[key]) for row in compare(record))]
        for key, title in METRICS.items()
        if key != "status"
    ]
    assert rows == expected


def test_models_as_close_as_gradient_descent_is_to_itself_are_not_ranked(
    page, small_run, tmp_path, without_figures
):
    said = words(section(page, "Distance to gradient descent"))
    assert "from one rounding away" in said and "Within it" not in said
    assert "Closest to it at the end: gradient flow" in words(page.find("body/header"))

    def far_away(file):
        file["gradient_descent/perturbed/observables/center_distance"][:] = 100.0

    page = assert_sound(make_report(copied(small_run, tmp_path, far_away)).text)
    said = words(section(page, "Distance to gradient descent"))
    assert "Within it all the way: gradient flow, free energy flow." in said
    verdict = words(page.find("body/header"))
    assert "Closest" not in verdict and "not ranked: gradient flow (" in verdict


def test_the_energy_balance_is_that_of_the_file(page, record):
    shown = table(page, "Balance of the free energy")["free energy flow"]
    data = record.processes[ENERGY].observables
    energy, integral = data["free_energy"], data["dissipated"]
    residual = np.max(np.abs(energy - energy[0] - integral))
    assert shown["F at the start"] == f"{energy[0]:.4g}"
    assert shown["integral of its rate"] == f"{integral[-1]:.4g}"
    assert shown["largest residual"] == f"{residual:.4g}"
    relative = residual / np.max(np.abs(energy - energy[0]))
    assert shown["over the largest change of F"] == f"{relative:.4g}"
    assert table(page, "Balance of the free energy")["gradient descent"]["largest residual"] == "–"


def test_it_says_what_was_run_on_what_and_with_what(page, record):
    said = facts(page)
    assert not any("given in Python" in key for key in said)
    assert said["File"] == "run.h5" and said["Learning rate η"].startswith("0.5; ")
    assert said["Task"] == "digits; n 12, target parity, mean square 0.0625, seed 0"
    assert said["Particles"] == "8 of 66 parameters, float64 in the file"
    assert said["Seed"].startswith("0;") and said["Steps of gradient descent"] == "6"
    created = record.attributes["created"]
    assert said["Started"] == created.replace("T", " ").replace("+00:00", " UTC")
    machine = json.loads(record.attributes["machine_json"])
    assert said["Processor"] == machine["processor"] and said["Cores"] == str(machine["cores"])
    versions = json.loads(record.attributes["versions_json"])
    assert table(page, "Versions")["version"] == versions
    seconds = sum(p.observables["wall_time"][-1] for p in record.processes.values())
    assert float(said["Took"].split(" s,")[0]) == pytest.approx(seconds, rel=0.01)


def test_the_configuration_is_there_in_full(page, record):
    (block,) = page.iter("pre")
    assert "".join(block.itertext()) == record.config


def test_every_figure_is_there_once(page, made):
    shown = [figure.get("id") for figure in page.iter("figure")]
    assert sorted(shown) == sorted(f"figure-{name}" for name in made.figures)
    assert {"loss", "distance", "free_energy"} <= set(made.figures)
    (balance,) = section(page, "Energy balance").iter("figure")
    assert balance.get("id") == "figure-free_energy"


def test_it_needs_nothing_but_itself(page, made):
    policies = [m.get("content") for m in page.iter("meta") if m.get("http-equiv")]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'; img-src data:"]
    assert "@import" not in made.text and "url(http" not in made.text
    assert not [e.get("src") for e in page.iter() if e.get("src")]
    assert len(made.text.encode()) < 2e6


@pytest.mark.slow
@pytest.mark.essential
def test_the_same_file_gives_the_same_report_and_no_folder_is_in_it(made, small_run):
    assert made.text == make_report(small_run.parent).text
    assert str(small_run.parent) not in made.text and small_run.parent.name not in made.text


# --- hostile and old files -----------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.essential
def test_whatever_a_file_says_stays_text(small_run, tmp_path):
    name = "<script>alert(3)<!-- -->"  # but for a slash, a group's name may hold anything

    def change(file):
        file.attrs["message"] = file.attrs["seed"] = file.attrs["created"] = HOSTILE
        file.attrs["status"], file[GD].attrs["status"] = "failed", HOSTILE
        file[ENERGY].attrs.update({"message": HOSTILE, "status": "failed"})
        file.attrs["versions_json"] = json.dumps({HOSTILE: HOSTILE})
        file.attrs["machine_json"] = json.dumps({"processor": HOSTILE, "cores": [HOSTILE]})
        file["config"][()] = f'a = "{HOSTILE}'.replace('"1"', "1")
        file["gradient_flow"].attrs["flow"] = HOSTILE
        file.move("gradient_flow", name)
        file["comparison/process"][:] = [name, ENERGY]

    made = make_report(copied(small_run, tmp_path, change))
    page = assert_sound(made.text)
    assert "<script" not in made.text.replace("&lt;script", "").lower()
    assert facts(page)["Processor"] == HOSTILE
    assert table(page, "Versions")["version"] == {HOSTILE: HOSTILE}
    assert words(page.find("body/header/p/span")) == "failed"
    assert f"The run failed: {HOSTILE}." in warnings(page)
    assert f"free energy flow: {HOSTILE}." in warnings(page)
    assert name in facts(page)["Processes"]
    assert HOSTILE[:20] in "".join(next(page.iter("pre")).itertext())


@pytest.mark.parametrize("text", ["[1, 2]", "{", "3", ""])
def test_attributes_that_are_no_json_objects_are_not_recorded(
    small_run, tmp_path, text, without_figures
):
    path = copied(small_run, tmp_path, lambda file: file.attrs.update({"machine_json": text}))
    assert facts(parsed(make_report(path).text))["Processor"] == "not recorded"


@pytest.mark.slow
def test_an_old_file_says_what_was_not_recorded(small_run, tmp_path):
    def change(file):
        for name in ("machine_json", "versions_json", "created", "seed"):
            del file.attrs[name]
        for process in (GD, "gradient_flow", ENERGY):
            for name in ("dissipated", "gradients", "hvps", "thirds", "solver_time", "wall_time"):
                del file[f"{process}/observables/{name}"]
            del file[f"{process}/observables/sharpness_residual"]

    page = assert_sound(make_report(copied(small_run, tmp_path, change)).text)
    said = facts(page)
    for name in ("Processor", "Cores", "Started", "Took", "Platform"):
        assert said[name] == "not recorded"
    assert said["Seed"].startswith("not recorded")
    assert "Versions: not recorded." in words(section(page, "How it was computed"))
    assert (
        table(page, "Balance of the free energy")[ENERGY.replace("_", " ")]["largest residual"]
        == "–"
    )
    assert warnings(page) == ["The machine was not recorded: an older meanfield wrote the file."]


def test_paths_lose_their_folders(small_run, tmp_path, without_figures):
    config = read_run(small_run).config
    task = '[task]\nname = "npz"\npath = "/home/someone/secret place/data.npz"\n'

    def change(file):
        file["config"][()] = task + config.partition("\n[network]")[2].join(["\n[network]", ""])
        file[ENERGY].attrs.update({"status": "failed", "message": "/scratch/u/x.npz: no such file"})

    text = make_report(copied(small_run, tmp_path, change)).text
    assert "someone" not in text and "secret" not in text and "scratch" not in text
    assert 'path = "data.npz"' in "".join(next(parsed(text).iter("pre")).itertext())
    assert "free energy flow: x.npz: no such file." in warnings(parsed(text))


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("/home/u/a.npz: no such file", "a.npz: no such file"),
        (r"C:\Users\u\a.npz", "a.npz"),
        (r"\\server\share\a.npz", "a.npz"),
        ("∂F/∂w, 2/η and a/b/c", "∂F/∂w, 2/η and a/b/c"),
        ("tr Σ/η", "tr Σ/η"),
        ('path = "/a b/c d/e.npz"', 'path = "e.npz"'),
        (r'path = "C:\\a b\\e.npz"', 'path = "e.npz"'),
        ("~/a/e.npz is not there", "e.npz is not there"),
        ('a = "x"\nb = "/c/d"', 'a = "x"\nb = "d"'),
    ],
)
def test_what_counts_as_a_path(text, left):
    assert without_folders(text) == left


# --- runs that did not end well, or not yet ------------------------------------------------------


def test_a_diverged_run_says_where(tmp_path, without_figures):
    study = load(None, ("landscape.name=quartic", "learning_rate=20.0", "steps=30"))
    path = run(study, tmp_path)
    made = make_report(path)
    page = assert_sound(made.text)
    assert made.status == "diverged" == words(page.find("body/header/p/span"))
    process = read_run(path).processes[GD]
    assert f"gradient descent: {process.message}." in warnings(page)
    assert "gradient flow" not in " ".join(warnings(page))
    assert "Gradient descent ends" not in words(page.find("body/header"))


@pytest.mark.parametrize("status", ["failed", "interrupted"])
def test_a_run_that_was_cut_short_is_reported_as_far_as_it_came(tmp_path, status, request):
    if status == "interrupted":
        request.getfixturevalue("without_figures")
    error = {"failed": ArithmeticError("<b>overflow</b>"), "interrupted": KeyboardInterrupt()}
    with pytest.raises(type(error[status])), writer_of(tmp_path) as writer:
        write_at(writer, GD, 0.0)
        write_at(writer, GD, 3.0)
        raise error[status]
    made = make_report(tmp_path)
    page = assert_sound(made.text)
    assert made.status == status
    said = " ".join(warnings(page))
    if status == "failed":
        assert "The run failed: ArithmeticError: <b>overflow</b>." in said
    else:
        assert "The run was interrupted" in said
    assert "free energy flow: not started." in said
    assert "before the distances to gradient descent were measured" in said
    assert table(page, "The last value of everything measured")["gradient descent"]["risk"] == "3"


def test_a_run_that_is_going_on_is_reported_as_it_is_now(tmp_path, without_figures):
    with writer_of(tmp_path) as writer:
        write_at(writer, GD, 0.0)
        writer.snapshot_times(GD)
        made = make_report(tmp_path)
        page = assert_sound(made.text)
        assert made.status == "running" and made.source.name == "run.h5.partial"
        assert "was running" in warnings(page)[0]
        assert "free energy flow: not started." in warnings(page)
        path = write_report(tmp_path)
        assert path == tmp_path / "report.html"
    assert make_report(tmp_path / "run.h5").status == "complete"


def test_nothing_to_warn_of_is_said_too(page, made):
    assert made.warnings == () == tuple(warnings(page))
    assert words(section(page, "Warnings").find("p")) == "None."
    assert "no warnings" in words(page.find("body/header"))


@pytest.mark.parametrize(
    ("observable", "values", "said", "of"),
    [
        ("sharpness_residual", 0.01, "relative residual", ENERGY),
        ("sharpness_residual", 1e-7, None, ENERGY),
        ("dissipated", 1.0, "balanced to", ENERGY),
        ("mass_error", 1e-6, "mass is lost", "phase_space"),
        ("mass_error", 1e-14, None, "phase_space"),
        ("certificate_excess", 1e-3, "inequality", "jko"),
    ],
)
def test_numbers_that_are_not_to_be_trusted_are_named(record, observable, values, said, of):
    flow = record.processes[ENERGY]
    data = flow.observables
    scale = np.abs(data["sharpness"]) if observable == "sharpness_residual" else 1.0
    changed = replace(flow, flow=of, observables=data | {observable: values * scale * np.ones(7)})
    found = run_sections.run_warnings(replace(record, processes={ENERGY: changed}))
    assert len(found) == (said is not None)
    assert all(said in text and text.startswith("free energy flow: ") for text in found)


def test_a_sharpness_that_did_not_converge_is_counted(record):
    flow = record.processes[ENERGY]
    sharpness = np.where(flow.observables["time"] == 3, np.nan, flow.observables["sharpness"])
    changed = replace(flow, observables=flow.observables | {"sharpness": sharpness})
    (text,) = run_sections.run_warnings(replace(record, processes={ENERGY: changed}))
    assert text == "free energy flow: no sharpness at 1 time, where its eigenpair did not converge."


def test_a_run_without_gradient_descent_has_no_distances_to_it(record, without_figures):
    alone = replace(record, processes={ENERGY: record.processes[ENERGY]}, comparison={})
    made = run_sections.report(alone)
    assert "Distance to gradient descent" not in made.text and made.warnings == ()
    assert_sound(made.text)


# --- files in, files out -------------------------------------------------------------------------


@pytest.fixture
def instant(monkeypatch, small_run):
    """Reports without their making."""
    made = Report(small_run, "run", "complete", "text\n", (), ())
    monkeypatch.setattr("meanfield.study.report.make_report", lambda source: made)


def test_it_lies_beside_the_file_unless_told_otherwise(instant, tmp_path, monkeypatch, small_run):
    assert write_report(small_run) == small_run.with_name("report.html")
    small_run.with_name("report.html").unlink()
    out = tmp_path / "deep/er/a.html"
    assert write_report(small_run, out) == out and out.read_bytes() == b"text\n"
    assert [path.name for path in out.parent.iterdir()] == ["a.html"]
    named = Report(tmp_path / "N64-s0.h5", "run", "complete", "text\n", (), ())
    monkeypatch.setattr("meanfield.study.report.make_report", lambda source: named)
    assert write_report("whatever") == tmp_path / "N64-s0.html"


@pytest.mark.parametrize("out", ["run.h5", "report", "x.html/"])
def test_names_that_are_no_names_of_a_page_are_refused(small_run, tmp_path, out):
    (tmp_path / "x.html").mkdir()
    before = small_run.read_bytes()
    with pytest.raises(ValueError, match="^out must be "):
        write_report(small_run, tmp_path / out if out != "run.h5" else small_run)
    assert small_run.read_bytes() == before


def test_a_file_that_cannot_be_written_is_a_clear_error(instant, tmp_path, small_run):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        write_report(small_run, tmp_path / "file/report.html")


@pytest.mark.parametrize("what", ["nothing", "folder", "text", "other"])
def test_what_is_neither_run_nor_study_is_refused(tmp_path, what):
    path = tmp_path / "run.h5"
    if what == "folder":
        path = tmp_path
    elif what == "text":
        path.write_text("run")
    elif what == "other":
        with h5py.File(path, "w") as file:
            file.attrs["schema"] = "another"
    with pytest.raises(RunFileError):
        make_report(path)


def test_its_style_is_part_of_the_package():
    assert (
        "prefers-color-scheme" in files("meanfield.study.report").joinpath("style.css").read_text()
    )


def test_the_configuration_in_the_page_repeats_the_run(page):
    (block,) = page.iter("pre")
    assert tomllib.loads("".join(block.itertext()))["network"]["width"] == 8
