"""How the processes of a run are told apart in figures: one colour and one kind of line each."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import product
from typing import Any, NamedTuple

from solvers.flows import flow_class

# Black is what the page writes in: an inlined figure turns it with the page (see `figures.svg()`).
BLACK, GREY = "#000000", "#7F7F7F"
# Near Okabe and Ito's hues, but each at a contrast of at least 3 to white and to near-black (#181818), which their orange and
# sky blue (2.3 to white) have not; to colour-blind readers no two are closer than theirs.
COLOURS = ("#1E61CC", "#DC7801", "#00874A", "#FD4B96", "#9F510B", "#2198EB")
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

    @property
    def shade(self) -> str:
        """The colour of a surface or an image, which does not turn with the page as lines do."""
        return GREY if self.colour == BLACK else self.colour


_NAMES = ("blue", "orange", "green", "pink", "brown", "sky")
#: What flows call the colours, see `solvers.Flow.colour`.
NAMED = {"black": BLACK, "grey": GREY} | dict(zip(_NAMES, COLOURS, strict=True))
_CODE = re.compile("#[0-9A-Fa-f]{6}")


def look_of(flow: str) -> Look | None:
    """The look that a flow's class asks for, by the flow's name; None where it has none."""
    found = flow_class(flow)
    if found is None:
        return None
    colour = NAMED.get(found.colour, found.colour)
    is_one = _CODE.fullmatch(colour) and found.dashes in DASHES
    return Look(colour, found.dashes) if is_one else None


def looks(names: Iterable[str]) -> dict[str, Look]:
    """The look of every process: that of its name, or for other names the next that is not taken."""
    names = list(names)
    chosen: dict[str, Look] = {}
    for name in names:
        look = look_of(name)
        if look is not None and look not in chosen.values():
            chosen[name] = look
    free = [
        Look(colour, dashes)
        for dashes, colour in product(DASHES, COLOURS)
        if Look(colour, dashes) not in chosen.values()
    ]
    taken = [look.colour for look in chosen.values()]
    free.sort(key=lambda look: taken.count(look.colour))  # a new colour before new dashes
    others = [name for name in names if name not in chosen]
    chosen |= {name: free[i % len(free)] for i, name in enumerate(others)}
    return {name: chosen[name] for name in names}
