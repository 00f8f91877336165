"""Whether two files of a run or a study hold the same, bit for bit, but for what the clock says."""

import h5py
import numpy as np

CLOCK = {"solver_time", "wall_time", "created"}


def content(path):
    """Everything in a file: name -> (dtype, shape, bytes) of a dataset, name@attribute -> value."""
    found = {}

    def visit(name, item):
        for key, value in item.attrs.items():
            if key not in CLOCK and not key.isupper() and not key.startswith("_Netcdf4"):
                found[f"{name}@{key}"] = np.asarray(value).tolist()
        if isinstance(item, h5py.Dataset) and name.rsplit("/", 1)[-1] not in CLOCK:
            values = item[()] if item.dtype.kind != "O" else np.array(item[()], dtype=bytes)
            found[name] = (str(values.dtype), np.shape(values), np.asarray(values).tobytes())

    with h5py.File(path, "r") as file:
        visit("", file)
        file.visititems(visit)
    return found


def assert_same(path, expected, but=()):
    """Two files hold the same, but for some parts; says which others do not."""
    ours, theirs = content(path), content(expected)
    assert ours.keys() == theirs.keys()
    unlike = [name for name in ours if repr(ours[name]) != repr(theirs[name])]
    assert [name for name in unlike if name not in but] == [], unlike
