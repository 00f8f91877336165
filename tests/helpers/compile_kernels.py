"""Compiles what most files of tests need: processes that start together would each do it.

python -m tests.helpers.compile_kernels
"""

import numpy as np

import meanfield
import solvers


def compile_kernels():
    for inputs in (1, 2, 64):
        task = meanfield.tasks.teacher_student(n=20, input_dim=inputs)
        network = meanfield.TwoLayerNetwork(inputs)
        for dtype in ("float64", "float32") if inputs == 2 else ("float64",):
            risk = meanfield.Risk(network, task, dtype=dtype)
            x = network.initialize(40, seed=0, dtype=dtype)
            v = np.ones_like(x)
            risk.value(x), risk.gradient(x), risk.hvp(x, v), risk.third(x, v)
    valley = meanfield.landscapes.Valley()
    solvers.solve(solvers.GradientDescent(0.3), valley, np.array(valley.start), 100_000, 100_000)


if __name__ == "__main__":
    compile_kernels()
