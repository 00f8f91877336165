"""
The onset of an MLP's oscillation
=================================

A PyTorch MLP whose oscillation decays to rounding, and the flow that has to keep what is left.

64 – 32 – 32 – 4, GELU, 240 digits of four classes, η = 1.55/S. No paper has this figure; the gap between runs of
gradient descent from one rounding away is the number to be met. One of five starts, two of eight
draws, 600 of 900 steps, and the flows with dt = ½ in place of ¼, of

.. code-block:: sh

    python scripts/fig_onset.py --only mlp --out figures
"""

# %%
import sys

import matplotlib.pyplot as plt

from meanfield.study.figures import STEPS, STYLE

sys.path.append("../../../scripts")  # of a clone
import _common as common
import fig_onset as script

plt.style.use(STYLE)
problem = script.mlp(0)
cut = problem.steps // 10  # the start's own oscillation decays there
flows = common.models(problem.eta, common.GD, script.DELAY)
flows[script.SILENT] = script.solvers.FreeEnergyFlow(problem.eta, delay=True, fluctuation_floor=0.0)


def run(flow, x0, **options):
    return script.late(
        common.measure(flow, problem.objective, x0, 600, 10**9, False, **options), cut
    )


options = {name: {"dt": 0.5} for name in flows if name != common.GD}
runs = {name: run(flow, problem.x0, **options.get(name, {})) for name, flow in flows.items()}
starts = [script.one_rounding_away(problem.x0, draw) for draw in range(2)]
others = [run(flows[common.GD], x0) for x0 in starts]

fig, ax = plt.subplots(figsize=(4.8, 4.0), layout="constrained")
for other in others:
    ax.semilogy(other.steps, other.trace, color=common.PALE, linewidth=3, label=common.PERTURBED)
looks = common.lines(script.SILENT)
for name, each in runs.items():
    ax.semilogy(each.steps, each.trace, **looks[name], label=name)
ax.set(xlabel=STEPS, ylabel="tr Σ", ylim=(1e-36, 10))
handles = dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
_ = fig.legend(handles.values(), handles, loc="outside upper center", ncols=1)
onset = {name: script.errors.onset(each, runs[common.GD]) for name, each in runs.items()}
print({name: script.number(step) for name, step in onset.items()})
print("from one rounding away:", [round(script.errors.onset(o, runs[common.GD])) for o in others])
