"""
Differences of gradients below rounding
=======================================

What feeds a fluctuation is a difference of gradients, which must be right when u is far below the last digit of w.

d = ½(∇E(w + u) − ∇E(w − u)) on E = cosh x at w = 0.7, where it is cosh w · sinh u exactly. Subtracting loses εw/u of it, with
ε = 2.2e-16, and all of it at u ≈ εw. The Hessian product ∇²E(w)u lacks the term of third order, u²/6 of it.
``endpoint_gradients`` returns the one or the other, and errs by less than ε^(2/3) = 4e-11, however small u is.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np

from meanfield.study.figures import STYLE, looks
from solvers.endpoints import endpoint_gradients

plt.style.use(STYLE)


class Cosh:
    """E = cosh x, with its derivatives in closed form."""

    def value(self, x):
        return float(np.cosh(x[0]))

    def gradient(self, x):
        return np.sinh(x)

    def hvp(self, x, v):
        return np.cosh(x) * v


bowl, w, sizes = Cosh(), np.array([0.7]), np.logspace(-24, 0, 193)
ways = {
    "subtracted": lambda u: (bowl.gradient(w + u) - bowl.gradient(w - u)) / 2,
    "Hessian product": lambda u: bowl.hvp(w, u),
    "endpoint_gradients": lambda u: endpoint_gradients(bowl, w, u)[1],
}
fig, ax = plt.subplots(figsize=(4.8, 3.8), layout="constrained")
for (name, way), look, dots in zip(ways.items(), looks("abc").values(), ("", "", "o"), strict=True):
    exact = np.cosh(w) * np.sinh(sizes)
    errors = abs(np.array([way(np.array([size]))[0] for size in sizes]) / exact - 1)
    ax.loglog(sizes, errors, **look.line, marker=dots, markersize=3, label=name)
    print(f"{name}: largest relative error {errors.max():.1e}")
ax.axhline(np.finfo(float).eps ** (2 / 3), color="grey", linestyle="--", label="ε^(2/3)")
ax.axvline(np.finfo(float).eps * w[0], color="grey", linestyle=":", label="ε|w|")
ax.set(xlabel="size of the fluctuation |u|", ylabel="relative error of d")
_ = fig.legend(loc="outside upper center", ncols=3)
