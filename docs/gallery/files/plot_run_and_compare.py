"""
A run, its file and its table
=============================

What ``meanfield run`` does, from Python: three flows from one start, one HDF5 file, one comparison.

The distance is that of the centers to gradient descent's, particle by particle. The shaded band is the distance of
gradient descent to itself from a start one rounding away: models within it could not be told from it.
"""

# %%
import meanfield

config = meanfield.RunConfig(
    learning_rate=1.0,
    steps=150,
    task={"name": "digits", "n": 100},
    network={"width": 100},
    output={"snapshot_every": 10, "sharpness_every": 5},
    processes={
        "gradient_descent": {},
        "gradient_flow": {},
        "free_energy_flow": {},
        "delayed": {"flow": "free_energy_flow", "delay": True},
    },
)
result = meanfield.run(config)

rows = {row["process"]: row for row in result.compare()}
for name in ("gradient_flow", "free_energy_flow", "delayed"):
    print(f"{name}: distance to gradient descent at the end {rows[name]['final_distance']:.3f}")

result.figures["distance"]
