"""
Where no model can follow
=========================

With much momentum the heavy ball in the valley is chaotic: two runs one rounding apart are different runs after some swings.

m ← βm + ∇E(x), x ← x − ηm on ½(y + ζx)x² − ε(x + y) with ζ = 1, ε = 0.01, η = 0.3, from a sixth of a unit below the edge
2(1 + β)/η. At β = 0.3 the swings die out, and so does the difference; at β = 0.5 it is multiplied in every spike. A model
can be compared with the rule only up to there.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np

import meanfield
import solvers
from meanfield.study.figures import STYLE, looks

plt.style.use(STYLE)
valley = meanfield.landscapes.Valley(zeta=1.0, epsilon=0.01)
fig, (top, bottom) = plt.subplots(2, 1, figsize=(4.8, 4.8), sharex=True, layout="constrained")
for momentum, look in zip((0.3, 0.4, 0.5), looks("abc").values(), strict=True):
    rule = solvers.HeavyBall(0.3, momentum)
    x0 = np.array([0.0, rule.edge / 0.3 - 0.17])
    one, other = (solvers.solve(rule, valley, x, 3000) for x in (x0, x0 * (1 + 2.0**-52)))
    apart = np.linalg.norm(one.centers - other.centers, axis=1)
    top.plot(one.times, 0.3 * one.centers[:, 1] / rule.edge, **look.line, label=f"β = {momentum}")
    bottom.semilogy(one.times, apart, **look.line)
    print(
        f"β = {momentum}: largest distance {apart[:500].max():.0e} in 500 steps, {apart.max():.0e}"
    )
top.axhline(1, color="grey", linestyle="--", linewidth=0.8, label="edge of stability")
top.set(ylabel="y over its threshold")
bottom.set(xlabel="step k", ylabel="distance of the two runs")
_ = fig.legend(loc="outside upper center", ncols=4)
