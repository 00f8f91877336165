"""The tables of docs/results/optimizers.md."""

import numpy as np
import pytest

import meanfield
import solvers


@pytest.fixture
def optimizers(load):
    return load("compare_optimizers")


def test_a_run_has_every_model_of_its_rule(optimizers):
    for problem, rules in optimizers.RULES.items():
        assert {"gradient_descent", "heavy_ball", "nesterov", "rmsprop", "adam"} < set(rules)
        for rule in rules:
            config = optimizers.config_of(problem, rule, 10)
            assert config.optimizer == rule
            assert set(optimizers.MODELS) | {rule} == set(config.processes)
    assert optimizers.config_of("digits", "adam", 3).warm_start == 3
    assert optimizers.config_of("digits", "nesterov", 3).warm_start is None


@pytest.mark.slow
@pytest.mark.essential
def test_it_runs(optimizers, tmp_path, capsys):
    page = tmp_path / "page.md"
    page.write_text("before <!-- digits -->old<!-- /digits --> after")
    short = ["--only", "digits", "--steps", "2", "--rule", "heavy_ball", "--out", str(tmp_path)]
    optimizers.main([*short, "--page", str(page)])
    text = page.read_text(encoding="utf-8")
    assert "-->old<!--" not in text and text.endswith("<!-- /digits --> after")
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    assert lines[2].startswith("| **heavy ball**, η 0.7, momentum 0.3 | heavy ball | – | – |")
    assert lines[3].startswith("|  | one rounding away |")
    assert len({line.count("|") for line in lines}) == 1
    assert "half step delay" in capsys.readouterr().out
    assert list(tmp_path.rglob("compare.png"))


def test_rows_of_one_model_go_into_a_table(optimizers):
    old = [["**a**, η 1", "a", "1"], ["", "one rounding away", "2"], ["", "free energy flow", "3"],
           ["", "rod flow (diverged)", "4"], ["", "central flow", "5"], ["**b**, η 2", "b", "6"],
           ["", "one rounding away", "7"], ["", "central flow", "8"]]  # fmt: skip
    text = f"{optimizers.table(old)}\n\n*command*"
    for rule in (0, 5):
        new = [old[rule], ["", "rod flow", str(rule)]]
        text = optimizers.with_rows(text, new)
    rows = [line.split("|")[2:4] for line in text.splitlines() if line.startswith("|")][2:]
    found = [(name.strip(), value.strip()) for name, value in rows]
    assert found[:3] == [("a", "1"), ("one rounding away", "2"), ("free energy flow", "3")]
    assert found[3:6] == [("rod flow", "0"), ("central flow", "5"), ("b", "6")]
    assert found[6:] == [("one rounding away", "7"), ("rod flow", "5"), ("central flow", "8")]
    assert text.endswith("\n\n*command*")


@pytest.mark.slow
@pytest.mark.essential
def test_a_run_that_has_ended_is_only_read(optimizers, tmp_path):
    """``--resume`` takes what the folder has, unless it is of another configuration."""
    short = ["--only", "digits", "--rule", "nesterov", "--out", str(tmp_path), "--resume"]
    optimizers.main([*short, "--steps", "2"])
    (file,) = tmp_path.rglob("run.h5")
    before = file.read_bytes()
    optimizers.main([*short, "--steps", "2"])
    assert file.read_bytes() == before
    optimizers.main([*short, "--steps", "3"])
    (entry,) = [line for line in optimizers.read_run(file).config.splitlines() if "steps" in line]
    assert entry == "steps = 3"


def test_the_networks_on_four_classes(load):
    pytest.importorskip("torch")
    four = load("_four_classes")
    images, targets = four.four_classes(None, 8)  # the digits, unless CIFAR-10 is in a usual cache
    assert len(images) == 8 and targets.shape == (8, 4)
    np.testing.assert_array_equal(targets.sum(axis=1), 1)
    for network in (four.mlp, four.cnn):
        objective = network(images, targets, 0)
        x0 = objective.initial()
        solution = solvers.solve(solvers.RMSProp(1e-4, bias_correction=True), objective, x0, 2)
        assert solution.status == "complete" and solution.losses[-1] < solution.losses[0]


@pytest.mark.parametrize("rule", ["heavy_ball", "scalar_rmsprop"])
def test_the_network_in_the_span_of_its_images_is_the_same(optimizers, load, rule):
    """To rules that see inner products only: losses, and how far the weights have gone. RMSProp is not one of them."""
    pytest.importorskip("torch")
    images = load("_four_classes").four_classes(None, 8)
    whole = load("_four_classes").mlp(*images, seed=0)
    part = optimizers.objective_of("pixels", rule, images)
    assert part.dimension < whole.dimension
    assert optimizers.objective_of("pixels", "adam", images).dimension == whole.dimension
    flow = solvers.HeavyBall(0.05, 0.3) if rule == "heavy_ball" else solvers.ScalarRMSProp(0.05)
    found = []
    for objective in (whole, part):
        solution = solvers.solve(flow, objective, objective.initial(), 12)
        gone = np.linalg.norm(solution.centers - solution.centers[0], axis=1)
        found.append([solution.losses, gone])
    np.testing.assert_allclose(found[1], found[0], rtol=1e-10)
    assert found[0][1][-1] > 0.01


def test_rmsprop_on_images_is_set_as_in_the_quick_start(load):
    script = load("compare_rmsprop")
    config = script.config_of(20)
    table = config.processes["rmsprop"]
    assert (table.beta2, table.eps, table.bias_correction) == (0.99, 1e-7, True)
    assert (config.learning_rate, config.warm_start, config.optimizer) == (2e-5, 5, "rmsprop")
    assert "half_step_delay" in config.processes
    assert isinstance(config, meanfield.RunConfig)
