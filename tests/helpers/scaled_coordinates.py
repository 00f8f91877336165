"""Objectives in other coordinates, in which a fixed preconditioner is the identity."""


class InScaledCoordinates:
    """An objective in the coordinates y of x = scale ⊙ y."""

    def __init__(self, objective, scale):
        self.objective, self.scale = objective, scale

    def value(self, y):
        return self.objective.value(self.scale * y)

    def gradient(self, y):
        return self.scale * self.objective.gradient(self.scale * y)

    def hvp(self, y, v):
        return self.scale * self.objective.hvp(self.scale * y, self.scale * v)

    def third(self, y, u):
        return self.scale * self.objective.third(self.scale * y, self.scale * u)
