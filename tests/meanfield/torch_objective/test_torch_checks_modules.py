"""Modules whose derivatives PyTorch composes wrongly by itself: checkpoints and normalizations are made right."""

import pytest

from tests.helpers.torch_modules import (
    INPUTS,
    RNG,
    Around,
    Calls,
    around,
    build,
    direction,
    objective_of,
    same,
)

torch = pytest.importorskip("torch")
nn = torch.nn
functional = nn.functional
checkpoints = pytest.importorskip("torch.utils.checkpoint")


class Blocks(nn.Module):
    """Three layers, with as much left out of memory as `how` says."""

    def __init__(self, how):
        super().__init__()
        self.first = nn.Linear(3, 5)
        self.blocks = nn.ModuleList(nn.Linear(5, 5) for _ in range(3))
        self.last = nn.Linear(5, 2)
        self.how = how

    def block(self, i, features):
        return torch.tanh(self.blocks[i](features))

    def forward(self, inputs):
        return self.last(self.how(self, inputs))


def plainly(net, inputs):
    features = torch.tanh(net.first(inputs))
    for i in range(3):
        features = net.block(i, features)
    return features


def each(use_reentrant):
    def run(net, inputs):
        features = torch.tanh(net.first(inputs))
        for i in range(3):
            features = checkpoints.checkpoint(net.block, i, features, use_reentrant=use_reentrant)
        return features

    return run


def whole(use_reentrant):
    """Of the inputs, which need no gradient themselves."""

    def run(net, inputs):
        return checkpoints.checkpoint(plainly, net, inputs, use_reentrant=use_reentrant)

    return run


def nested(use_reentrant):
    return lambda net, inputs: checkpoints.checkpoint(
        lambda given: each(use_reentrant)(net, given), inputs, use_reentrant=use_reentrant
    )


def sequential(use_reentrant):
    def run(net, inputs):
        functions = [lambda h, i=i: net.block(i, h) for i in range(3)]
        features = torch.tanh(net.first(inputs))
        return checkpoints.checkpoint_sequential(
            functions, 2, features, use_reentrant=use_reentrant
        )

    return run


@pytest.mark.parametrize("use_reentrant", [False, True])
@pytest.mark.parametrize("how", [each, whole, nested, sequential])
@pytest.mark.parametrize("chunk_size", [pytest.param(None, marks=pytest.mark.slow), 4])
def test_checkpoints_change_nothing(how, use_reentrant, chunk_size):
    objective = objective_of(build(Blocks, how(use_reentrant)), chunk_size=chunk_size)
    x = objective.initial() + 0.5 * RNG.standard_normal(objective.dimension)
    same(objective, x, build(Blocks, plainly))


def test_checkpoints_outside_of_evaluations_are_left_as_they_are():
    module = build(Blocks, each(True))
    objective = objective_of(module)
    objective.third(objective.initial(), direction(objective))
    module(torch.tensor(INPUTS, requires_grad=True)).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in module.parameters())
    assert issubclass(checkpoints.CheckpointFunction, torch.autograd.Function)


def layer_norm(h, w, b):
    centered = h - h.mean(-1, keepdim=True)
    return w * centered / (centered.square().mean(-1, keepdim=True) + 1e-5).sqrt() + b


def channel_norm(h, w, b):
    """Of (n, 6) as three channels of two."""
    return layer_norm(h.reshape(-1, 3, 2), w[:2].sum() / w[:2].sum(), 0 * b[:1]).reshape(h.shape)


def over_samples(h, w, b):
    """Each sample as a channel, so that samples do not meet."""
    return layer_norm(h, 1.0, 0.0) * (1 + 0 * w) + 0 * b


def rms_norm(h, w, b):
    return w * h / (h.square().mean(-1, keepdim=True) + 1e-3).sqrt() + b


NORMALIZATIONS = {
    "torch.layer_norm": (lambda h, w, b: torch.layer_norm(h, (6,), w, b), layer_norm),
    "torch.layer_norm, by name": (
        lambda h, w, b: torch.layer_norm(
            h, normalized_shape=(6,), weight=w, bias=b, eps=1e-5, cudnn_enable=False
        ),
        layer_norm,
    ),
    "torch.native_layer_norm": (
        lambda h, w, b: torch.native_layer_norm(h, (6,), w, b, 1e-5)[0],
        layer_norm,
    ),
    "functional.layer_norm": (
        lambda h, w, b: functional.layer_norm(h, (6,), w, b),
        layer_norm,
    ),
    "torch.ops.aten.layer_norm": (
        lambda h, w, b: torch.ops.aten.layer_norm(h, (6,), w, b),
        layer_norm,
    ),
    "torch.ops.aten.native_layer_norm": (
        lambda h, w, b: torch.ops.aten.native_layer_norm.default(h, (6,), w, b, 1e-5)[0],
        layer_norm,
    ),
    "torch.rms_norm": (lambda h, w, b: torch.rms_norm(h, (6,), w, 1e-3) + b, rms_norm),
    "torch.instance_norm": (
        lambda h, w, b: (
            torch.instance_norm(
                h.reshape(-1, 3, 2), None, None, None, None, True, 0.1, 1e-5, False
            ).reshape(h.shape)
            + 0 * (w + b)
        ),
        channel_norm,
    ),
    "torch.batch_norm": (
        lambda h, w, b: (
            torch.batch_norm(h.T, None, None, None, None, True, 0.1, 1e-5, False).T + 0 * (w + b)
        ),
        over_samples,
    ),
    "torch.native_batch_norm": (
        lambda h, w, b: (
            torch.native_batch_norm(h.T.contiguous(), None, None, None, None, True, 0.1, 1e-5)[0].T
            + 0 * (w + b)
        ),
        over_samples,
    ),
    "torch.group_norm": (
        lambda h, w, b: torch.group_norm(h, 3) + 0 * (w + b),
        channel_norm,
    ),
}


@pytest.mark.parametrize("name", NORMALIZATIONS)
def test_normalizations_are_those_of_their_formulas(name):
    ours, formula = NORMALIZATIONS[name]
    torch.manual_seed(1)
    objective, x = around(nn.Sequential(Calls(ours), nn.Tanh()))
    torch.manual_seed(1)
    same(objective, x, build(lambda: Around(nn.Sequential(Calls(formula), nn.Tanh()))))
