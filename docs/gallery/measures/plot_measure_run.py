"""
A crowd around an obstacle, as a run
====================================

Aggregation against diffusion in a plane with a hole, from a configuration: the density at four times.

What ``meanfield run`` does with a table ``[measure]``, from Python: minimising movements of second order, one HDF5 file
with the density, and for every step its energy and its certificate.
"""

# %%
import meanfield

config = meanfield.RunConfig(
    measure={
        "step_size": 0.1,
        "duration": 2.0,
        "space": {"name": "grid", "cells": [60, 40], "low": [-3, -2], "high": [3, 2]},
        "initial": {"name": "uniform", "low": [1.5, -1.0], "high": [2.8, 1.0]},
        "energy": {
            "power_entropy": {"exponent": 2.0, "coefficient": 0.2},
            "bowl": {"name": "harmonic_potential", "center": [-1.5, 0.0]},
            "obstacle": {"radius": 0.7},
        },
    },
    output={"snapshot_every": 2},
)
result = meanfield.run(config)

data = result["evolution"].observables
print(f"energy from {data['energy'][0]:.4f} to {data['energy'][-1]:.4f}")
print(f"largest excess of an energy inequality: {data['excess'][1:].max():.1e}")

result.figures["density"]
