"""Objectives that return something else after a while, or write to what they are given."""

import numpy as np
import pytest

import solvers


class Bowl:
    """½ Σ d_i x_i²."""

    def __init__(self, curvatures=(1.0, 2.0)):
        self.curvatures = np.array(curvatures)

    def value(self, x):
        return 0.5 * float(np.sum(self.curvatures * x**2))

    def gradient(self, x):
        return self.curvatures * x

    def hvp(self, x, v):
        return self.curvatures * v

    def third(self, x, u):
        return 0.0 * u


FLOWS = [
    solvers.GradientDescent(0.3),
    solvers.GradientFlow(0.3),
    solvers.FreeEnergyFlow(0.3),
    solvers.FreeEnergyFlow(0.3, delay=True),
    solvers.EdgeFlow(0.3),
    solvers.Adam(0.01),
]
WRONG = {
    "part": lambda g: g[:1],
    "number": lambda g: 0.0,
    "nothing": lambda g: None,
    "complex": lambda g: g * 1j,
    "row": lambda g: g[None],
    "text": lambda g: g.astype(str),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: type(flow).__name__)
def test_a_gradient_that_becomes_something_else_is_named(flow, wrong):
    """A part or a number would be broadcast, and an imaginary part dropped: complete, with wrong numbers."""

    class Later(Bowl):
        calls = 0

        def gradient(self, x):
            self.calls += 1
            right = super().gradient(x)
            return wrong(right) if self.calls > 4 else right

    with pytest.raises(ValueError, match=r"objective\.gradient must return"):
        solvers.solve(flow, Later(), np.ones(2), steps=30)


@pytest.mark.parametrize("flow", FLOWS[:3], ids=lambda flow: type(flow).__name__)
def test_a_gradient_may_become_a_list(flow):
    class Lists(Bowl):
        def gradient(self, x):
            return list(super().gradient(x))

    runs = [solvers.solve(flow, bowl, np.ones(2), steps=9) for bowl in (Lists(), Bowl())]
    assert runs[0].centers.tobytes() == runs[1].centers.tobytes()


def test_a_value_that_becomes_none_is_named():
    class Later(Bowl):
        calls = 0

        def value(self, x):
            self.calls += 1
            return super().value(x) if self.calls < 4 else None

    with pytest.raises(ValueError, match=r"objective\.value must return a number, got None"):
        solvers.solve(solvers.GradientDescent(0.3), Later(), np.ones(2), steps=9)


@pytest.mark.parametrize("method", ["hvp", "third"])
@pytest.mark.parametrize(
    "flow",
    [solvers.CentralFlow(0.3), solvers.CentralFlow(solvers.HeavyBall(0.3, momentum=0.5))],
    ids=lambda flow: type(flow).__name__,
)
def test_an_objective_that_writes_to_a_direction_is_refused(flow, method):
    """Above its edge, so that third derivatives are taken."""

    class Writing(Bowl):
        pass

    def writing(self, x, v):
        result = getattr(Bowl, method)(self, x, v)
        v *= 2.0
        return result

    setattr(Writing, method, writing)
    with pytest.raises(ValueError, match="got one that writes to a direction"):
        solvers.solve(flow, Writing((20.0, 2.0)), np.ones(2), steps=3)


def test_an_array_with_masked_entries_is_refused():
    x0 = np.ma.masked_array([1.0, 2.0], [True, False])
    with pytest.raises(ValueError, match="x0 must be an array of real numbers, got 1 masked"):
        solvers.solve(solvers.GradientDescent(0.3), Bowl(), x0, steps=3)
    whole = np.ma.masked_array([1.0, 2.0], [False, False])
    centers = [
        solvers.solve(solvers.GradientDescent(0.3), Bowl(), x, steps=3).centers.tobytes()
        for x in (whole, np.array([1.0, 2.0]))
    ]
    assert centers[0] == centers[1]
