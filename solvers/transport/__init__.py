"""Optimal transport between measures: exact, sliced, entropic. The only package that imports POT."""

from solvers.transport.coupled import coupled_distance
from solvers.transport.result import TransportError, TransportResult
from solvers.transport.wasserstein import MAX_BYTES, METHODS, estimate, w2

__all__ = [
    "MAX_BYTES",
    "METHODS",
    "TransportError",
    "TransportResult",
    "coupled_distance",
    "estimate",
    "w2",
]
