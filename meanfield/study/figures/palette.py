"""Colours and line styles of the processes of a run in figures."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import product
from typing import Any, NamedTuple

from solvers.flows import flow_class

# Black is the text colour of the page: it follows the page in inlined figures (see `figures.svg()`).
BLACK, GREY = "#000000", "#7F7F7F"
# Near Okabe and Ito's hues, but each at a contrast of at least 3 to white and to near-black (#181818), which their orange and
# sky blue (2.3 to white) lack; for colour-blind readers no two are closer than theirs.
COLOURS = ("#1E61CC", "#DC7801", "#00874A", "#FD4B96", "#9F510B", "#2198EB")
# dotted lines are reserved for predictions of a process
DASHES = ("-", "--", "-.")


class Look(NamedTuple):
    """Colour and dashes of a process, in every figure."""

    colour: str
    dashes: str

    @property
    def line(self) -> dict[str, Any]:
        """Keyword arguments of a line: that of gradient descent is broad, with the others on top."""
        broad = self.colour == BLACK
        width, level = (2.4, 2.0) if broad else (1.3, 2.1)
        return {"color": self.colour, "linestyle": self.dashes, "linewidth": width, "zorder": level}

    @property
    def shade(self) -> str:
        """The colour of a surface or an image, which does not follow the page as lines do."""
        return GREY if self.colour == BLACK else self.colour


_NAMES = ("blue", "orange", "green", "pink", "brown", "sky")
#: Colours by the names that flows use, see `solvers.Flow.colour`.
NAMED = {"black": BLACK, "grey": GREY} | dict(zip(_NAMES, COLOURS, strict=True))
_CODE = re.compile("#[0-9A-Fa-f]{6}")


def look_of(flow: str) -> Look | None:
    """The look specified by a flow's class, by the flow's name; None without one."""
    found = flow_class(flow)
    if found is None:
        return None
    colour = NAMED.get(found.colour, found.colour)
    is_one = _CODE.fullmatch(colour) and found.dashes in DASHES
    return Look(colour, found.dashes) if is_one else None


def looks(names: Iterable[str]) -> dict[str, Look]:
    """The look of every process: that of its name, or the next free one for other names.

    Parameters
    ----------
    names : iterable of str
        Names of processes, such as those of flows.

    Returns
    -------
    dict
        By name, a colour ``#rrggbb`` and the dashes of the line.

    Examples
    --------
    >>> from meanfield.study import figures
    >>> line = figures.looks(["gradient_descent", "mine"])
    >>> line["gradient_descent"].colour, line["mine"].colour != line["gradient_descent"].colour
    ('#000000', True)
    """
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
    free.sort(key=lambda look: taken.count(look.colour))  # new colours before new dashes
    others = [name for name in names if name not in chosen]
    chosen |= {name: free[i % len(free)] for i, name in enumerate(others)}
    return {name: chosen[name] for name in names}
