"""Steps on batches: those of PyTorch on the same batches, whole epochs, restarts, the curvature along batches' gradients."""

import numpy as np
import pytest

import meanfield
import solvers

TASK = meanfield.tasks.Task(
    np.random.default_rng(0).normal(size=(10, 2)), np.random.default_rng(1).normal(size=(10, 1))
)
NETWORK = meanfield.TwoLayerNetwork(input_dim=2)
RISK = meanfield.Risk(NETWORK, TASK, weight_decay=0.01)
X0 = NETWORK.initialize(5, seed=0)


def sgd(size=4, flow=None, **options):
    return solvers.MiniBatch(flow or solvers.GradientDescent(0.2), size, **options)


def test_an_epoch_takes_every_sample_once_and_each_epoch_another_order():
    flow = sgd(4, seed=3)
    epochs = [np.concatenate([flow.indices(10, 3 * e + k) for k in range(3)]) for e in range(3)]
    assert [len(flow.indices(10, k)) for k in range(4)] == [4, 4, 2, 4]
    for order in epochs:
        assert sorted(order) == list(range(10))
    assert not np.array_equal(epochs[0], epochs[1]) and not np.array_equal(epochs[1], epochs[2])


def test_with_replacement_every_sample_is_drawn_equally_often():
    flow = sgd(5, replacement=True, seed=1)
    counts = np.bincount(np.concatenate([flow.indices(10, k) for k in range(4000)]), minlength=10)
    # 20,000 draws: a standard deviation of √(20000 · 0.1 · 0.9) = 42
    assert np.abs(counts - 2000).max() < 5 * 42
    assert any(len(set(flow.indices(10, k))) < 5 for k in range(20))


@pytest.mark.parametrize("batch", [[3], [0, 4, 4, 9]])
def test_the_risk_of_a_batch_is_that_of_its_samples(batch):
    part = RISK.batch(batch)
    chosen = meanfield.tasks.Task(TASK.inputs[batch], TASK.targets[batch])
    own = meanfield.Risk(NETWORK, chosen, weight_decay=0.01)
    assert part.value(X0) == own.value(X0)
    assert np.array_equal(part.gradient(X0), own.gradient(X0))
    assert np.array_equal(part.hvp(X0, X0), own.hvp(X0, X0))


def test_batches_that_divide_have_the_gradient_as_their_mean():
    parts = [RISK.batch(indices).gradient(X0) for indices in (range(5), range(5, 10))]
    # sums of ten terms in another order
    np.testing.assert_allclose(np.mean(parts, axis=0), RISK.gradient(X0), rtol=0, atol=1e-14)


@pytest.mark.parametrize("name", ["SGD", "Adam"])
def test_steps_are_those_of_pytorch_on_the_same_batches(name):
    torch = pytest.importorskip("torch")
    flow = solvers.HeavyBall(0.2, 0.5) if name == "SGD" else solvers.Adam(0.02)
    batched = sgd(4, flow, seed=2)
    solution = solvers.solve(batched, RISK, X0, steps=30)
    theta = torch.nn.Parameter(torch.from_numpy(X0.copy()))
    inputs, targets = torch.from_numpy(TASK.inputs.copy()), torch.from_numpy(TASK.targets.copy())
    options = {"lr": 0.2, "momentum": 0.5} if name == "SGD" else {"lr": 0.02}
    optimizer = getattr(torch.optim, name)([theta], **options)
    for k, following in enumerate(solution.iterates[1:]):
        chosen = torch.from_numpy(batched.indices(10, k).copy())
        a, w, b = theta[:, :1], theta[:, 1:3], theta[:, 3:]
        outputs = (a.T @ torch.tanh(w @ inputs[chosen].T + b)).T / len(theta)
        loss = 0.5 * ((outputs - targets[chosen]) ** 2).sum(1).mean()
        loss = loss + 0.005 * (theta**2).sum() / len(theta)
        optimizer.zero_grad()
        loss.backward()
        theta.grad *= len(theta)  # the mean-field gradient
        optimizer.step()
        np.testing.assert_allclose(theta.detach().numpy(), following, rtol=0, atol=1e-12)


def test_a_run_that_is_cut_goes_on_bit_for_bit():
    flow = sgd(3, seed=5)
    whole = solvers.solve(flow, RISK, X0, steps=20)
    half = solvers.solve(flow, RISK, X0, steps=9)
    rest = solvers.solve(flow, RISK, half.state, steps=11)
    assert np.array_equal(rest.state.values, whole.state.values)


def test_all_samples_in_order_are_gradient_descent():
    """Sums over the samples in another order: rounding, which 30 steps below the edge do not multiply."""
    whole = solvers.solve(solvers.GradientDescent(0.2), RISK, X0, steps=30)
    batched = solvers.solve(sgd(10), RISK, X0, steps=30)
    np.testing.assert_allclose(batched.centers, whole.centers, rtol=0, atol=1e-12)


def test_batch_sharpness_by_its_definition():
    flow = sgd(5, seed=4)
    state = solvers.solve(flow, RISK, X0, steps=6).state
    x, above, below = state.values[0], 0.0, 0.0
    for k in (6, 7):  # an epoch
        part = RISK.batch(flow.indices(10, k))
        g, h = part.gradient(x), 1e-5
        product = (part.gradient(x + h * g) - part.gradient(x - h * g)) / (2 * h)
        above, below = above + np.sum(g * product), below + np.sum(g * g)
    found = solvers.batch_sharpness(flow, RISK, state, batches=2)
    # a central difference at h = 1e-5: h² and ε/h
    assert found == pytest.approx(above / below, rel=1e-8)


def test_own_flows_of_batches_run_and_resume(tmp_path):
    config = meanfield.RunConfig(steps=6, learning_rate=0.5, task={"n": 12}, network={"width": 8})
    result = meanfield.run(config, tmp_path / "run", flows={"sgd": sgd(5, seed=1)})
    task, network = meanfield.tasks.digits(12), meanfield.TwoLayerNetwork(64)
    risk, x0 = meanfield.Risk(network, task), network.initialize(8, seed=0)
    own = solvers.solve(sgd(5, seed=1), risk, x0, steps=6)
    assert np.array_equal(result["sgd"].snapshots[-1].position, own.centers[-1])


def test_a_rate_that_changes():
    pairs = [[0, 0.2], [5, 0.1]]
    changing = solvers.Scheduled(sgd(4, seed=1), pairs)
    solution = solvers.solve(changing, RISK, X0, steps=10)
    x = X0
    for k in range(10):
        x = x - (0.2 if k < 5 else 0.1) * RISK.batch(sgd(4, seed=1).indices(10, k)).gradient(x)
    np.testing.assert_allclose(solution.iterates[-1], x, rtol=0, atol=1e-14)


def test_bad_input():
    with pytest.raises(
        ValueError, match="batch_size must be at most the number of samples, 10, got 11"
    ):
        solvers.solve(sgd(11), RISK, X0, steps=1)
    with pytest.raises(ValueError, match="batch_size must be an integer of at least 1, got 0"):
        sgd(0)
    with pytest.raises((ValueError, TypeError), match="flow must be"):
        solvers.MiniBatch(solvers.RodFlow(0.1), 4)
    with pytest.raises(
        ValueError, match="objective must be an object with a method batch.*got Valley"
    ):
        solvers.solve(sgd(2), meanfield.landscapes.Valley(), np.array([0.1, 5.0]), steps=1)
    for indices in ([], [10], [-1], [0.5], [[1]]):
        with pytest.raises(ValueError, match="indices must be"):
            RISK.batch(indices)
