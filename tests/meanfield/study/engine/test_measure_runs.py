"""Studies with minimising movements, the phase-space PDE and Langevin dynamics among their processes."""

import numpy as np
import pytest
import xarray

from meanfield.study.config.run_config import load_text
from meanfield.study.engine.run import run
from meanfield.study.storage.writer import read_run
from tests.helpers.commands import meanfield_command
from tests.helpers.line_network import saved_sine

TEXT = """
learning_rate = 2.5
steps = 4
TASK_AND_NETWORK
[output]
snapshot_every = 2
sharpness_every = 2
[processes.gradient_descent]
[processes.free_energy_flow]
[processes.jko]
saddle = true
[processes.phase_space]
cells = [24, 24]
[processes.langevin]
temperature = 1e-4
"""


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("line")
    text = TEXT.replace("TASK_AND_NETWORK", saved_sine(folder))
    return run(load_text(text), folder / "out")


def test_all_of_them_end_and_agree(path):
    """Four steps below the edge: the models differ by their own errors, of first order in ητ, and the noise is small."""
    record = read_run(path)
    assert {process.status for process in record.processes.values()} == {"complete"}
    flow = record.processes["free_energy_flow"].observables["predicted_loss"][-1]
    for name in ("jko", "phase_space"):
        found = record.processes[name].observables["predicted_loss"]
        assert found[-1] == pytest.approx(flow, rel=0.25)
        assert found[-1] < 0.5 * found[0]


def test_quantiles_of_the_pde_are_no_neurons(path):
    comparison = read_run(path).comparison
    assert np.all(np.isnan(comparison["phase_space"]["center_distance"]))
    assert np.all(np.isfinite(comparison["phase_space"]["w2"]))
    assert np.all(np.isfinite(comparison["jko"]["center_distance"]))


@pytest.mark.slow
@pytest.mark.essential
def test_certificates_are_in_the_file(path):
    with xarray.open_datatree(path, engine="h5netcdf") as tree:
        jko = tree["jko/observables"]
        assert np.isnan(jko["certificate_excess"][0])
        assert np.all(jko["certificate_excess"][2::2] < 1e-12)
        pde = tree["phase_space/observables"]
        assert np.all(pde["mass_error"][2::2] < 1e-12)
        change = pde["free_energy"] - pde["free_energy"][0]
        assert float(change[-1]) == pytest.approx(float(pde["dissipated"][-1]), rel=0.1)


@pytest.mark.parametrize(
    ("process", "message"),
    [
        ("jko={dt=3.0}", "dt must be 1/m for an integer m ≥ 1, or an integer that divides"),
        ("jko={saddle=true,temperature=0.1}", "temperature must be 0 where saddle=True, got 0.1"),
        ("phase_space={}", "x0 must have shape (N, 1), as θ has one dimension, got (8, 66)"),
        (
            "phase_space={cells=[3,20]}",
            "processes.phase_space.cells[0] must be an integer of at least 4, got 3",
        ),
        ("phase_space={cells=[3000,3000]}", "max_cells"),
        ("langevin={}", "temperature"),
    ],
)
def test_what_does_not_fit_is_told_before_anything_runs(small, tmp_path, process, message):
    settings = [f"--set={text}" for text in (*small, "steps=8", f"processes={{{process}}}")]
    result = meanfield_command("run", "--out", str(tmp_path / "out"), *settings)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())
    assert not (tmp_path / "out" / "run.h5").exists()
