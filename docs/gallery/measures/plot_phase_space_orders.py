"""
How accurate the phase-space grid is
====================================

A law that is carried by known velocities: nothing turns negative, and the order depends on how smooth the law is.

In the potential ½θ² the kinetic equation multiplies every θ by e^(−ηt) and every u by e^((η−2)t), so the law of any start is
known. Above, the law of u from a block of even density, on 64 x 64 cells: with the slopes limited, and without slopes. No
mass is ever negative, and none is lost. Below, W₂ to the exact law of u: of order 1.83 from a smooth start, 1.26 for the same
once u has contracted below a cell, and 1.19 from particles x, a law on the curve θ = x − u, u = ½ηx, for which only ½ is certain.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import beta

import solvers
from meanfield.study.figures import STYLE, looks

plt.style.use(STYLE)
eta, square, cells = 0.5, ((-1.2, 1.2), (-1.2, 1.2)), np.array([32, 64, 128, 256])
bowl = solvers.energies.Potential(lambda x: x[:, 0] ** 2 / 2, lambda x: x)
x0 = 2 * beta.ppf((np.arange(4000) + 0.5) / 4000, 4, 4)[:, None] - 1  # of the density (1 − z²)³
starts = {  # the start, the scale of u there, the time
    "smooth": (lambda theta, u: ((1 - theta**2).clip(0) * (1 - u**2).clip(0)) ** 3, 1.0, 0.4),
    "on a curve": (x0, eta / 2, 0.4),
}
starts["contracted"] = (*starts["smooth"][:2], 3.0)


def moved(start, time, n=64, limiter="mc"):
    domain = square if callable(start) else None
    pde = solvers.PhaseSpacePDE(eta, cells=(n, n), domain=domain, limiter=limiter)
    law, report = pde.advance(bowl, pde.start(bowl, start), time)
    return law.u_marginal(), f"least mass {law.masses.min():g}, lost {report.mass_error:.0e}"


fig, (top, bottom) = plt.subplots(2, 1, figsize=(4.8, 5.8), layout="constrained")
for limiter, look in zip(("mc", "upwind"), looks("ab").values(), strict=True):
    law, masses = moved(lambda theta, u: np.maximum(abs(theta), abs(u)) < 0.8, 0.4, 64, limiter)
    top.stairs(law.density, law.edges[0], color=look.colour, label=f"limiter {limiter!r}")
    print(f"block, {limiter}: {masses}")
edge = 0.8 * np.exp((eta - 2) * 0.4)
top.plot([-edge, -edge, edge, edge], [0, 0.5 / edge, 0.5 / edge, 0], "k--", label="exact")
top.set(xlabel="fluctuation u", ylabel="density of u at t = 0.4")
top.legend()
for (name, (start, scale, time)), look in zip(starts.items(), looks("abc").values(), strict=True):
    edges = scale * np.exp((eta - 2) * time) * np.linspace(-1, 1, 2001)
    exact = solvers.Grid.from_density(edges, lambda u, s=edges[-1]: (1 - (u[:, 0] / s) ** 2) ** 3)
    errors = [solvers.transport.w2(moved(start, time, n)[0], exact).distance for n in cells]
    order = -np.polyfit(np.log(cells), np.log(errors), 1)[0]
    bottom.loglog(cells, errors, **look.line, marker="o", label=f"{name}: order {order:.2f}")
bottom.set(xlabel="cells along θ and u", ylabel="W₂ to the exact law of u")
bottom.set_xticks(cells, cells)
bottom.minorticks_off()
_ = bottom.legend()
