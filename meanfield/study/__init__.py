"""Runs and studies: several flows on one problem from one start, kept in one file, compared, drawn and reported."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from solvers._support.moved import keep_importable

__all__ = ["extend", "load", "resume", "run", "sweep", "width_study"]


def __getattr__(name: str) -> Any:
    """Public functions on first use: what computes and what reads HDF5 is imported only then."""
    if name in __all__:
        return getattr(import_module("meanfield.study.facade"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


# `resume` was in a module of its own name.
keep_importable({"meanfield.study.resume": "meanfield"})


def __dir__() -> list[str]:
    return sorted(__all__)
