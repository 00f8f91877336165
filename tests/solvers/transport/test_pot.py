"""What computing a distance leaves behind for a program that calls POT itself."""

import os
import subprocess
import sys

import pytest

from tests.helpers.clocks import HANGS

PROGRAM = """
import os, sys
import numpy as np
{first}
import solvers
before = dict(os.environ)
x = np.random.default_rng(0).standard_normal((5, 2))
assert abs(solvers.transport.w2(x, x + 1.0).distance - 2**0.5) < 1e-12
assert os.environ == before
{last}
"""
WITH_TORCH = """
import ot
weights, costs = torch.full((2,), 0.5, dtype=torch.float64), torch.tensor([[1.0, 2.0], [4.0, 1.0]], dtype=torch.float64)
assert ot.emd2(weights, weights, costs.requires_grad_()).item() == 1.0
"""


def run(first, last):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("POT_BACKEND")}
    code = PROGRAM.format(first=first, last=last)
    subprocess.run([sys.executable, "-c", code], check=True, timeout=HANGS, env=environment)


@pytest.mark.slow
@pytest.mark.essential
def test_a_program_with_torch_calls_pot_with_its_tensors():
    pytest.importorskip("torch")
    run("import torch", WITH_TORCH)


@pytest.mark.slow
@pytest.mark.essential
def test_no_framework_is_imported_for_a_distance():
    run("", "assert not {'torch', 'jax', 'tensorflow', 'cupy'} & sys.modules.keys()")
