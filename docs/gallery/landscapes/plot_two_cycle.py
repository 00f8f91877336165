"""
The amplitude of a two-cycle
============================

Past the edge of stability gradient descent need not diverge: where the landscape flattens outwards it settles on two
points.

On E = ½ S w² − ¼ Q w⁴ the sharpness at ±w is less than S. For 2 < ηS < 3 gradient descent ends up in the two-cycle ±w that
gives S − Qw² = 2/η, so w² = S/Q − 2/(ηQ). Nothing of that is in the gradient flow, which goes to 0; the free-energy flow
rests there.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np

import meanfield
import solvers
from meanfield.study.figures import STYLE, looks

plt.style.use(STYLE)
S, Q = 10.0, 1.0
quartic = meanfield.landscapes.Quartic(curvature=S, quartic=Q)
flows = {
    "gradient descent": solvers.GradientDescent,
    "gradient flow": solvers.GradientFlow,
    "free-energy flow": solvers.FreeEnergyFlow,
    "rod flow": solvers.RodFlow,
}
products = np.linspace(1.8, 2.9, 12)
style = looks(["gradient_descent", "gradient_flow", "free_energy_flow", "rod_flow"]).values()

fig, ax = plt.subplots(figsize=(4.8, 3.8), layout="constrained")
exact = np.sqrt(np.clip(S / Q - 2 * S / (products * Q), 0, None))
ax.plot(products, exact, color="grey", label="√(S/Q − 2/(ηQ))")
for (name, flow), look, marker in zip(flows.items(), style, "o.x+", strict=True):
    runs = [solvers.solve(flow(p / S), quartic, [0.1], steps=300) for p in products]
    ends = np.array([np.sqrt(run.fluctuation_trace[-1]) for run in runs])
    size, fill = (9, "none") if marker == "o" else (6, "full")
    ax.plot(products, ends, marker, color=look.colour, markersize=size, fillstyle=fill, label=name)
    print(f"{name}: within {abs(ends - exact)[products > 2.1].max():.1e} of the formula, ηS > 2.1")
ax.axvline(2, color="grey", linestyle="--", linewidth=0.8)
ax.set(xlabel="ηS at the minimum", ylabel="amplitude |u| after 300 steps")
fig.legend(loc="outside upper center", ncols=2)
