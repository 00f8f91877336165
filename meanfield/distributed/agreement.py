"""Comparison of what all ranks of a job must have in common, before anything is computed.

Ranks that read different configurations, or copies of the data of which one is out of date, would exchange sums that do not
belong together, or wait for each other forever.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import shorten
from typing import Any

from meanfield._digest import fingerprint
from meanfield.risk import Risk

_MOST_KEYS, _MOST_CHARACTERS = 8, 120  # of a message


def require_same(comm: Any, about: Mapping[str, object]) -> None:
    """Compare descriptions of the ranks of a communicator; collective.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm
    about : mapping
        Values by name, compared as text.

    Raises
    ------
    ValueError
        On every rank, with the names whose values differ and the ranks that have each.

    Examples
    --------
    >>> from meanfield import distributed
    >>> from mpi4py import MPI
    >>> distributed.require_same(MPI.COMM_WORLD, {"learning_rate": 0.5})
    """
    found = comm.allgather({key: str(value) for key, value in about.items()})
    if all(each == found[0] for each in found):
        return
    keys = list(dict.fromkeys(key for each in found for key in each))
    lines = [line for key in keys if (line := _difference(key, [each.get(key) for each in found]))]
    if len(lines) > _MOST_KEYS:
        lines[_MOST_KEYS:] = [f"and {len(lines) - _MOST_KEYS} more differ"]
    remedy = "start every rank with the same configuration, data and packages"
    raise ValueError("\n".join([*lines, remedy]))


def _difference(key: str, values: Sequence[str | None]) -> str:
    """Which ranks have which value; empty if all have the same."""
    holders: dict[str | None, list[str]] = {}
    for rank, value in enumerate(values):
        holders.setdefault(value, []).append(str(rank))
    if len(holders) == 1:
        return ""
    parts = []
    for value, ranks in holders.items():
        text = "nothing" if value is None else shorten(value, _MOST_CHARACTERS, placeholder=" …")
        word = "rank" if len(ranks) == 1 else "ranks"
        parts.append(f"{text} on {word} {', '.join(ranks)}")
    return f"{key} must be the same on every rank, got " + " and ".join(parts)


def describe_risk(risk: Risk) -> dict[str, object]:
    """Everything that the value of a risk depends on."""
    return {
        "network": risk.network,
        "loss": risk.loss,
        "weight_decay": risk.weight_decay,
        "dtype": risk.dtype,
        "inputs": fingerprint(risk.task.inputs),
        "targets": fingerprint(risk.task.targets),
    }
