"""Arguments checked by their annotations, and named things from installed distributions."""

import os
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Annotated, Literal

import annotated_types
import numpy as np
import pytest

from solvers._support import registry
from solvers._support.annotations import Ge, Gt, Interval, Le, Lt, check, checked
from solvers._support.registry import Registry

PATH = str | os.PathLike[str]


@pytest.mark.parametrize(
    ("annotation", "value", "expected"),
    [
        (int, np.int32(-3), -3),
        (Annotated[int, Ge(0), Le(3)], np.array(3), 3),
        (Annotated[float, Gt(0)], np.float32(0.5), 0.5),
        (Annotated[float, Interval(ge=0, lt=1)], 0, 0.0),
        (bool, np.True_, True),
        (Literal["a", "b"], "b", "b"),
        (int | None, None, None),
        (Annotated[int, Ge(1)] | None, 2, 2),
        (PATH, "x", Path("x")),
        (PATH | None, None, None),
        (Path, Path("x"), Path("x")),
        (list[int], "anything", "anything"),
    ],
)
def test_a_value_comes_as_the_annotation_asks(annotation, value, expected):
    found = check("n", value, annotation)
    assert found == expected and type(found) is type(expected)


@pytest.mark.parametrize(
    ("annotation", "value", "message"),
    [
        (int, 1.0, "n must be an integer, got 1.0"),
        (Annotated[int, Le(3)], 4, "n must be an integer of at most 3, got 4"),
        (Annotated[int, Interval(ge=1, le=3)], 0, "n must be an integer from 1 to 3, got 0"),
        (Annotated[float, Gt(0)], 0.0, "n must be a finite number above 0, got 0.0"),
        (
            Annotated[float, Ge(0), Lt(1)],
            1.0,
            "n must be a finite number of at least 0 and below 1",
        ),
        (bool, 1, "n must be True or False, got 1"),
        (Literal["left", "right"], "rigt", "got 'rigt'; did you mean 'right'"),
        (Annotated[int, Ge(1)] | None, 0, "n must be an integer of at least 1, got 0"),
        (PATH | None, 3, "n must be a path, got 3"),
    ],
)
def test_what_the_annotation_does_not_allow_is_refused(annotation, value, message):
    with pytest.raises(ValueError, match=message):
        check("n", value, annotation)


@checked
def area(width: Annotated[float, annotated_types.Gt(0)], height: Annotated[float, Gt(0)] = 2.0):
    """Width times height."""
    return width * height


def test_arguments_are_checked_by_position_and_by_name():
    assert area(3) == area(width=3.0) == 6.0 and area(3, height=np.float32(0.5)) == 1.5
    assert area.__name__ == "area" and area.__doc__ == "Width times height."
    with pytest.raises(ValueError, match="height must be a finite number above 0, got -1"):
        area(1, -1)
    with pytest.raises(TypeError, match=r"area\(\) got an unexpected keyword argument 'depth'"):
        area(1, depth=1)
    with pytest.raises(TypeError, match=r"area\(\) missing 1 required positional argument"):
        area()


# --- registry ------------------------------------------------------------------------------------


def shapes():
    return Registry("shape", "meanfield.test_shapes", {"rectangle": area})


def test_one_registers_under_a_name_that_is_free():
    known = shapes()
    assert known.register("square", len) is len and known["square"] is len
    known.register("square", len)
    assert list(known) == ["rectangle", "square"] and "circle" not in known
    with pytest.raises(ValueError, match="one that no other shape has, got 'square'"):
        known.register("square", max)
    with pytest.raises(ValueError, match="letters, digits and underscores.*got '../x'"):
        known.register("../x", len)
    with pytest.raises(ValueError, match="shape must be a function or a class, got 3"):
        known.register("three", 3)
    with pytest.raises(KeyError):
        known["circle"]


def test_entry_points_are_imported_when_their_name_is_asked_for(monkeypatch):
    group = "meanfield.test_shapes"
    entries = [
        EntryPoint("circle", "math:hypot", group),
        EntryPoint("broken", "no_such_module_anywhere:f", group),
        EntryPoint("number", "math:pi", group),
        EntryPoint("rectangle", "math:sqrt", group),
        EntryPoint("a/b", "math:sqrt", group),
    ]
    monkeypatch.setattr(registry, "entry_points", lambda group: entries)
    known = shapes()
    assert list(known) == ["rectangle", "circle", "broken", "number"]
    assert known["circle"](3, 4) == 5 and known["rectangle"] is area
    with pytest.raises(ValueError, match="shape 'broken' .* cannot be imported: No module named"):
        known["broken"]
    with pytest.raises(ValueError, match="shape 'number' .* must be a function or a class"):
        known["number"]
