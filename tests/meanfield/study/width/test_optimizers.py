"""Width studies of an optimizer and its model: what runs, what is compared, and the particle system of weights and momenta."""

import numpy as np
import pytest

import meanfield
import solvers
from meanfield.study.analysis.stored_run import StoredRun
from meanfield.study.width import read_study
from meanfield.study.width.plan import Run
from meanfield.study.width.study import run_width_study

SETTINGS = (
    "optimizer=heavy_ball",
    "processes={heavy_ball={momentum=0.5}, free_energy_flow={delay=true}}",
)
MODELS = {"rule": lambda rule: rule, "delay": lambda rule: solvers.FreeEnergyFlow(rule, delay=True)}


@pytest.mark.slow
@pytest.mark.essential
def test_the_rule_and_its_model_at_several_widths(tiny, tmp_path, at_home):
    plan = tiny(*SETTINGS)
    study = read_study(run_width_study(plan, tmp_path / "study").path)
    assert [tuple(pair) for pair in study.pairs] == [
        ("heavy_ball", "heavy_ball"),
        ("free_energy_flow", "free_energy_flow"),
        ("heavy_ball", "free_energy_flow"),
    ]
    for name in ("coupled_rms", "w2"):
        # pair, width, seed, time
        assert np.isfinite(study.distances[name][..., -1]).all()
    # a run of the study is that of the rule, from its own particles
    run = Run(16, 1)
    objective, start = _problem(plan, run)
    rule = solvers.HeavyBall(0.2, momentum=0.5)
    with StoredRun.open(run.path(tmp_path / "study")) as result:
        flows = {"heavy_ball": rule, "free_energy_flow": solvers.FreeEnergyFlow(rule, delay=True)}
        seed = plan.study_of(run).processes["free_energy_flow"].seed
        flows["free_energy_flow"] = solvers.FreeEnergyFlow(rule, delay=True, seed=seed)
        for name, flow in flows.items():
            solution = solvers.solve(flow, objective, start, steps=6)
            np.testing.assert_array_equal(result[name].snapshots[-1].position, solution.centers[-1])


def _problem(plan, run):
    task = plan.study_of(run).task.build()
    network = meanfield.TwoLayerNetwork(task.input_dim)
    return meanfield.Risk(network, task), plan.start_of(run)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    "rule",
    [solvers.HeavyBall(0.3, 0.5), solvers.ScalarRMSProp(0.05), solvers.Adam(0.02, eps=1e-3)],
    ids=lambda rule: rule.name,
)
def test_it_is_a_particle_system(rule, model):
    """Particles are exchangeable, and doubling each of them doubles nothing else: what a law of particles determines."""
    task, network = meanfield.tasks.digits(12), meanfield.TwoLayerNetwork(64)
    risk, x0 = meanfield.Risk(network, task), network.initialize(6, seed=0)
    flow = MODELS[model](rule)
    plain = solvers.solve(flow, risk, x0, steps=8).centers[-1]
    order = np.random.default_rng(0).permutation(6)
    permuted = solvers.solve(flow, risk, x0[order], steps=8).centers[-1]
    doubled = solvers.solve(flow, risk, np.concatenate([x0, x0]), steps=8).centers[-1]
    # sums over the particles in another order
    np.testing.assert_allclose(permuted, plain[order], rtol=0, atol=1e-10)
    np.testing.assert_allclose(doubled, np.concatenate([plain, plain]), rtol=0, atol=1e-10)
