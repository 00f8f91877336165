"""Names of parameters in mathematical notation."""

from __future__ import annotations

import re

from meanfield.study.figures.style import is_for_print

GREEK = dict(
    zip(
        (
            *("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "kappa"),
            *(
                "lambda",
                "mu",
                "nu",
                "xi",
                "pi",
                "rho",
                "sigma",
                "tau",
                "phi",
                "chi",
                "psi",
                "omega",
            ),
        ),
        "αβγδεζηθκλμνξπρστφχψω",
        strict=True,
    )
)
LOWERED = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
_NAME = re.compile(
    rf"(?P<letter>[A-Za-z]|{'|'.join(GREEK)})_?(?P<index>\d*)(?:\[(?P<entry>\d+(?:, ?\d+)*)\])?"
)


def parameter(name: str) -> str:
    """A letter with an index, as ``w12`` and ``W2[0,1]``, in mathematics; other names as they are.

    Figures drawn for a printed width have matplotlib's formulas. Those of pages, where text is to remain text, have letters with
    lowered digits.
    """
    found = _NAME.fullmatch(name)
    if found is None:
        return name.replace("$", r"\$")
    letter, index, entry = found["letter"], found["index"], (found["entry"] or "").replace(" ", "")
    if not is_for_print():
        return (
            f"{GREEK.get(letter, letter)}{index.translate(LOWERED)}{f'[{entry}]' if entry else ''}"
        )
    symbol = rf"\{letter}" if letter in GREEK else letter
    if index:
        symbol += f"_{{{index}}}"
    if entry:
        symbol = f"{f'({symbol})' if index else symbol}_{{{entry}}}"
    return f"${symbol}$"
