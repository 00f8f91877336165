"""Runs in Python, against h5py and xarray."""

import io
import os
import shutil
import subprocess
import sys
import tomllib
import xml.etree.ElementTree as ET

import h5py
import numpy as np
import pytest

import meanfield
from meanfield.study.config.run_config import load
from meanfield.study.engine.run import run
from meanfield.study.storage.schema import ProcessLayout, RunFileError
from tests.helpers.clocks import HANGS
from tests.helpers.commands import meanfield_command
from tests.helpers.written_runs import ENERGY, GD, write_at, writer_of

# --- what is read --------------------------------------------------------------------------------


def test_it_is_opened_by_its_file_and_by_its_folder(small_run):
    for path in (small_run, str(small_run), small_run.parent):
        with meanfield.Result.open(path) as result:
            assert result.path == small_run
            assert list(result) == [GD, "gradient_flow", ENERGY] and len(result) == 3
            assert (result.status, result.message, result.learning_rate) == ("complete", "", 0.5)
            assert result[ENERGY].flow == ENERGY and "rod_flow" not in result
            assert tomllib.loads(result.config)["steps"] == 6


def test_observables_are_those_of_the_file(small_run):
    with meanfield.Result.open(small_run) as result, h5py.File(small_run) as file:
        for name, process in result.items():
            group = file[f"{name}/observables"]
            assert set(process.observables) == set(group) - {"eig"}
            for key, values in process.observables.items():
                np.testing.assert_array_equal(values, group[key][:])
            assert result.observables[name] is process.observables
        assert next(iter(result[GD].observables)) == "time"
        np.testing.assert_array_equal(
            result.comparison[ENERGY]["center_distance"], file["comparison/center_distance"][1]
        )
        np.testing.assert_array_equal(result.comparison_times, file["comparison/time"][:])


def test_snapshots_are_those_of_the_file(small_run):
    with meanfield.Result.open(small_run) as result, h5py.File(small_run) as file:
        mine, group = result[ENERGY].snapshots, file[f"{ENERGY}/snapshots"]
        assert len(mine) == 3
        np.testing.assert_array_equal(mine.times, [0, 4, 6])
        for i, row in ((0, 0), (2, 2), (-1, 2)):
            snapshot = mine[i]
            assert snapshot.time == [0, 4, 6][row]
            np.testing.assert_array_equal(snapshot.position, group["position"][row])
            np.testing.assert_array_equal(snapshot.fluctuation, group["fluctuation"][row])
            np.testing.assert_array_equal(snapshot.weight, group["weight"][:])
        np.testing.assert_array_equal(mine.at(4).position, group["position"][1])
        assert [snapshot.time for snapshot in mine] == [0, 4, 6]
        later = mine[1:]
        assert (len(later), later[0].time, later[-1].time) == (2, 4, 6)
        assert list(later.times) == [4, 6] and list(mine[::-1].times) == [6, 4, 0]


def test_what_is_not_there_is_said_with_what_is(small_run):
    with meanfield.Result.open(small_run) as result:
        mine = result[GD].snapshots
        with pytest.raises(ValueError, match="time must be one of 0, 4, 6, got 5"):
            mine.at(5)
        for index in (3, -4):
            with pytest.raises(IndexError, match=f"index must be within 3 snapshots, got {index}"):
                mine[index]
        with pytest.raises(KeyError, match="process must be one of gradient_descent, gr.*got gd"):
            result["gd"]
        with pytest.raises(KeyError, match="process must be .*got gd"):
            result.observables["gd"]
        with pytest.raises(
            KeyError, match="observable must be one of time, train_loss, .*got loss"
        ):
            result[GD].observables["loss"]


class _Counting(io.FileIO):
    read_bytes = 0

    def readinto(self, buffer):
        self.read_bytes += memoryview(buffer).nbytes
        return super().readinto(buffer)


def test_a_snapshot_reads_its_own_row_only(tmp_path):
    n, count = 20_000, 8
    with writer_of(tmp_path, processes={GD: ProcessLayout(GD)}, particles=n) as writer:
        for t in range(count):
            write_at(writer, GD, t, particles=n)
    with meanfield.Result.open(tmp_path) as result:
        file = result._reader
        file.close()
        file._raw = counting = _Counting(tmp_path / "run.h5")
        assert np.all(result[GD].snapshots[3].position == 3)
        row = n * 8 * (3 + 3 + 1)  # position, fluctuation, weight
        assert row <= counting.read_bytes < 1.1 * row < counting.seek(0, os.SEEK_END) / 4


def test_a_landscape_and_several_modes(tmp_path):
    settings = ("landscape={name='valley'}", "processes={gradient_descent={},rod_flow={rank=2}}")
    path = run(load(None, (*settings, "steps=5", "output.snapshot_every=1")), tmp_path)
    with meanfield.Result.open(path) as result, h5py.File(path) as file:
        assert result[GD].parameter_names == ("x", "y")
        last = result["rod_flow"].snapshots[-1]
        assert (
            last.position.shape == (1, 2)
            and last.fluctuation.ndim == file["rod_flow/snapshots/fluctuation"].ndim - 1
        )
        np.testing.assert_array_equal(last.fluctuation, file["rod_flow/snapshots/fluctuation"][-1])


def test_a_divergence_is_shown(tmp_path):
    settings = ("landscape={name='rosenbrock'}", "processes={gradient_descent={},gradient_flow={}}")
    path = run(load(None, (*settings, "learning_rate=1.0", "steps=9")), tmp_path)
    with meanfield.Result.open(path) as result:
        assert result[GD].status == result.status == "diverged"
        assert result[GD].observables["time"][-1] < 9
        assert f"diverged: {result[GD].message}" in repr(result)
        assert result[GD].snapshots[-1].time == result[GD].snapshots.times[-1]


def test_an_interrupted_run_is_shown(tmp_path):
    with pytest.raises(KeyboardInterrupt), writer_of(tmp_path) as writer:
        write_at(writer, GD, 0)
        raise KeyboardInterrupt
    with meanfield.Result.open(tmp_path) as result:
        assert result.status == result[GD].status == "interrupted"
        assert len(result[ENERGY].snapshots) == 0 == len(result[ENERGY].observables["time"])
        assert "interrupted: not started" in repr(result)
        assert repr(result[ENERGY].snapshots) == "<0 snapshots at none>"
        assert len(result.observables.to_dataframe()) == 1


def test_a_closed_result_keeps_what_was_read_and_two_do_not_mind_each_other(small_run):
    one, two = (meanfield.Result.open(small_run) for _ in range(2))
    times, process = one[GD].observables["time"], one[GD]
    with one:
        assert one[GD].snapshots[0].time == 0
    for read in (lambda: process.snapshots[0], one.refresh, lambda: one[ENERGY].observables):
        with pytest.raises(RunFileError, match="run.h5: the result is closed"):
            read()
    assert process.observables["time"] is times
    np.testing.assert_array_equal(two[GD].observables["time"], times)
    assert two[GD].snapshots[0].time == 0
    two.close()
    two.close()


# --- other libraries -----------------------------------------------------------------------------


def test_tables_against_xarray(small_run):
    xarray, pandas = pytest.importorskip("xarray"), pytest.importorskip("pandas")
    with (
        meanfield.Result.open(small_run) as result,
        xarray.open_datatree(small_run, engine="h5netcdf") as tree,
    ):
        table = result[GD].observables.to_dataframe()
        assert table.index.name == "time" and len(table) == 7
        expected = tree[f"{GD}/observables"].to_dataset().drop_dims("eig").to_dataframe()
        pandas.testing.assert_frame_equal(table[expected.columns], expected, check_like=True)
        eigenvalues = tree[f"{GD}/observables"].hessian_eigs
        for k in (1, 2):
            np.testing.assert_array_equal(table[f"hessian_eigs_{k}"], eigenvalues.sel(eig=k))
        everything = result.observables.to_dataframe()
        assert everything.index.names == ["process", "time"] and len(everything) == 21
        assert list(everything.index.unique("process")) == list(result)
        for name in result:
            own = result.observables[name].to_dataframe()
            pandas.testing.assert_frame_equal(everything.loc[name][own.columns], own)
        assert everything.loc[ENERGY].iterate_loss.isna().all()


@pytest.mark.slow
@pytest.mark.essential
def test_the_tree_is_that_of_the_file(small_run):
    xarray = pytest.importorskip("xarray")
    with (
        meanfield.Result.open(small_run) as result,
        result.to_xarray() as mine,
        xarray.open_datatree(small_run, engine="h5netcdf") as tree,
    ):
        xarray.testing.assert_identical(mine, tree)


@pytest.mark.slow
@pytest.mark.essential
def test_the_tree_of_a_run_going_on(tmp_path):
    pytest.importorskip("xarray")
    with writer_of(tmp_path) as writer:
        write_at(writer, GD, 0)
        writer.finish(GD, "complete")
        with meanfield.Result.open(tmp_path) as result:
            tree = result.to_xarray()
        write_at(writer, ENERGY, 1, modes=(2,))
    snapshots = tree[f"{GD}/snapshots"]
    assert snapshots.position.shape == (1, 4, 3) and float(snapshots.weight.sum()) == 1
    assert tree[f"{ENERGY}/snapshots"].sizes["time"] == 0


def test_without_xarray_and_pandas_the_extra_is_named(small_run, monkeypatch):
    for module in ("xarray", "pandas"):
        monkeypatch.setitem(sys.modules, module, None)
    with meanfield.Result.open(small_run) as result:
        for convert in (
            result.to_xarray,
            result.observables.to_dataframe,
            result[GD].observables.to_dataframe,
        ):
            with pytest.raises(ImportError, match=r"the extra `xarray`: pip install .*\[xarray\]"):
                convert()


def test_the_package_is_as_light_as_before():
    code = (
        "import sys, meanfield; dir(meanfield); assert 'Result' in dir(meanfield);"
        "assert not {'h5py', 'meanfield.study.result'} & set(sys.modules);"
        "meanfield.Result; assert 'meanfield.study.result' in sys.modules;"
        "assert not {'solvers.flow', 'scipy', 'xarray', 'pandas', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=HANGS)


# --- what is shown -------------------------------------------------------------------------------


def test_the_text_has_a_line_per_process(small_run):
    with meanfield.Result.open(small_run) as result:
        title, head, *lines = repr(result).splitlines()
        observables = result[ENERGY].observables
        distance = result.comparison[ENERGY]["center_distance"][-1]
    assert title == f"{small_run}: complete, η = 0.5"
    assert head.split()[:4] == ["process", "flow", "status", "steps"]
    assert [line.split()[0] for line in lines] == [GD, "gradient_flow", ENERGY]
    numbers = [float(cell) for cell in lines[2].split()[3:]]
    expected = [6, observables["train_loss"][-1], 0.5 * observables["sharpness"][-1], distance]
    np.testing.assert_allclose(numbers, expected, rtol=5e-4)  # four digits
    assert lines[0].split()[-1] == "–"


def test_the_html_is_a_table_that_hides_nothing_and_runs_nothing(tmp_path):
    folder = tmp_path / "<i>&"
    folder.mkdir()
    name, message = 'a<b>"', "<script>alert(1)</script>"
    with writer_of(folder, processes={name: ProcessLayout(GD)}) as writer:
        write_at(writer, name, 0)
        writer.finish(name, "diverged", message)
    with meanfield.Result.open(folder) as result:
        html = result._repr_html_()
    table = ET.fromstring(html)  # well formed
    assert {element.tag for element in table.iter()} <= set(
        ["table", "caption", "thead", "tbody", "tr", "th", "td"]
    )
    assert str(folder) in table.find("caption").text
    cells = [cell.text for cell in table.iter("td")]
    assert cells == [name, GD, f"diverged: {message}", "0", "0", "0", "–"]
    assert "color" not in html and "background" not in html  # the page's own, light or dark


# --- files that are no runs ----------------------------------------------------------------------


def _other_program(path):
    with h5py.File(path, "w") as file:
        file["x"] = 1


def _later(path):
    with writer_of(path.parent):
        pass
    with h5py.File(path, "r+") as file:
        file.attrs["schema_version"] = 2


def _cut(path):
    with writer_of(path.parent) as writer:
        write_at(writer, GD, 0)
    path.write_bytes(path.read_bytes()[:3000])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "run.h5: there is no such file"),
        (lambda path: path.write_bytes(b""), "run.h5: not an HDF5 file"),
        (lambda path: path.write_bytes(b"rubbish" * 100), "run.h5: not an HDF5 file"),
        (_cut, "run.h5: damaged or incomplete"),
        (_other_program, "must be the file of a run, of schema meanfield-run, got None"),
        (_later, "schema version must be 1, got 2; a newer meanfield wrote it"),
        (lambda path: (path.parent / "run.h5.partial").touch(), "run.h5.partial is there"),
    ],
)
def test_what_is_no_run_is_refused(tmp_path, make, message):
    path = tmp_path / "run.h5"
    make(path)
    with pytest.raises(RunFileError, match=message):
        meanfield.Result.open(path)


def test_an_empty_folder_and_a_file_that_may_not_be_read(tmp_path):
    with pytest.raises(RunFileError, match="must hold run.h5 or run.h5.partial, got neither"):
        meanfield.Result.open(tmp_path)
    if os.geteuid() != 0:
        (tmp_path / "run.h5").touch(mode=0)
        with pytest.raises(RunFileError, match="cannot be opened: Permission denied"):
            meanfield.Result.open(tmp_path)


# --- figures and report --------------------------------------------------------------------------


def test_figures_are_drawn_by_name_and_shown_in_a_notebook(small_run):
    with meanfield.Result.open(small_run) as result:
        assert {"loss", "sharpness", "distance", "overview", "compare"} <= set(result.figures)
        figure = result.figures["loss"]
        assert figure is result.figures["loss"]
        assert figure.axes[0].get_lines()
        assert figure._repr_png_().startswith(b"\x89PNG")
        with pytest.raises(KeyError, match="name must be one of loss.*got 'los'"):
            result.figures["los"]


@pytest.mark.slow
def test_the_report_is_a_page_beside_the_file_or_elsewhere(small_run, tmp_path):
    (tmp_path / "run").mkdir()
    path = shutil.copy(small_run, tmp_path / "run" / "run.h5")
    with meanfield.Result.open(path) as result:
        assert result.report() == tmp_path / "run" / "report.html"
        assert result.report(tmp_path / "mine.html").read_text().startswith("<!DOCTYPE html>")
        with pytest.raises(ValueError, match=r"\.html"):
            result.report(tmp_path / "run" / "run.h5")


def test_the_comparison_is_shown_as_the_command_prints_it(small_run):
    printed = meanfield_command("compare", str(small_run), "--no-figure").stdout
    with meanfield.Result.open(small_run) as result:
        compared = result.compare()
    assert repr(compared) in printed
    frame = compared.to_dataframe()
    assert list(frame.index) == [row["process"] for row in compared]
    assert frame.loc[ENERGY, "final_distance"] == compared[2 + 1]["final_distance"]
