"""Names in mathematical notation."""

from __future__ import annotations

import re

GREEK = (
    *("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "kappa", "lambda"),
    *("mu", "nu", "xi", "pi", "rho", "sigma", "tau", "phi", "chi", "psi", "omega"),
)
_NAME = re.compile(
    rf"(?P<letter>[A-Za-z]|{'|'.join(GREEK)})_?(?P<index>\d*)(?:\[(?P<entry>\d+(?:, ?\d+)*)\])?"
)


def parameter(name: str) -> str:
    """A letter with an index in mathematics, as ``w12`` and ``W2[0,1]``; other names as they are."""
    found = _NAME.fullmatch(name)
    if found is None:
        return name.replace("$", r"\$")
    letter, index, entry = found["letter"], found["index"], found["entry"]
    symbol = rf"\{letter}" if letter in GREEK else letter
    if index:
        symbol += f"_{{{index}}}"
    if entry:
        symbol = f"{f'({symbol})' if index else symbol}_{{{entry.replace(' ', '')}}}"
    return f"${symbol}$"
