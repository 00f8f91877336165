"""How the processes of a run are told apart in figures: one colour and one kind of line each."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from typing import Any, NamedTuple

# Okabe and Ito's colours, told apart by colour-blind readers too; their yellow is too pale for lines
BLACK, GREY = "#000000", "#7F7F7F"
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
# dotted lines are left for what a process predicts
DASHES = ("-", "--", "-.")


class Look(NamedTuple):
    """Colour and dashes of a process, in every figure."""

    colour: str
    dashes: str

    @property
    def line(self) -> dict[str, Any]:
        """Keyword arguments of a line: gradient descent's is broad, and the others lie on it."""
        broad = self.colour == BLACK
        width, level = (2.4, 2.0) if broad else (1.3, 2.1)
        return {"color": self.colour, "linestyle": self.dashes, "linewidth": width, "zorder": level}


LOOKS = {
    "gradient_descent": Look(BLACK, "-"),
    "gradient_flow": Look("#0072B2", "-"),
    "free_energy_flow": Look("#D55E00", "-"),
    "rod_flow": Look("#009E73", "--"),
    "edge_flow": Look("#CC79A7", "--"),
    "central_flow": Look("#E69F00", "-."),
    "sharpness_flow": Look("#56B4E9", "-"),
    "self_stabilization": Look("#56B4E9", "--"),
    "normalized_gradient_descent": Look(GREY, "-"),
    "sqrt_loss_gradient_descent": Look(GREY, "--"),
}


def looks(names: Iterable[str]) -> dict[str, Look]:
    """The look of every process: that of its name, or for other names the next that is not taken."""
    names = list(names)
    chosen = {name: LOOKS[name] for name in names if name in LOOKS}
    free = [
        Look(colour, dashes)
        for dashes, colour in product(DASHES, COLOURS)
        if Look(colour, dashes) not in chosen.values()
    ]
    taken = [look.colour for look in chosen.values()]
    free.sort(key=lambda look: taken.count(look.colour))  # a new colour before new dashes
    others = [name for name in names if name not in LOOKS]
    chosen |= {name: free[i % len(free)] for i, name in enumerate(others)}
    return {name: chosen[name] for name in names}
