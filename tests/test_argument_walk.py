"""Public functions and constructors, with arguments of wrong types, shapes and sizes: a result, or an error that names one.

What is walked follows from the packages' own lists of names: a new one is walked, or listed in `tests/helpers/good_arguments.py`
with the reason why not.
"""

import inspect
import random
import re
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import meanfield
import solvers
from meanfield import initializers, landscapes, tasks
from solvers import transport
from solvers.measures import energies
from tests.helpers.bad_arguments import POOL
from tests.helpers.good_arguments import CALLS, DOCUMENTED, NOT_WALKED, asks_for_hours


def _named(module, only_own):
    for name, found in vars(module).items():
        if name.startswith("_") or not (inspect.isclass(found) or inspect.isfunction(found)):
            continue
        if not only_own or found.__module__ == module.__name__:
            yield name


def test_every_public_name_is_walked_or_says_why_not():
    public = {f"solvers.{name}" for name in solvers.__all__}
    public |= {f"meanfield.{name}" for name in dir(meanfield)}
    public |= {f"meanfield.landscapes.{name}" for name in landscapes.__all__}
    for module in (energies, initializers, tasks):
        public |= {f"{module.__name__}.{name}" for name in _named(module, only_own=True)}
    public |= {f"solvers.transport.{name}" for name in transport.__all__}
    missing = {
        name for name in public if name not in CALLS and name.rsplit(".", 1)[1] not in NOT_WALKED
    }
    assert missing == {"solvers.measures.energies.Sum"}  # made by `+`


def walk(name, changed):
    function, good = CALLS[name]
    if any(callable(changed.get(name)) for name in ("observe", "progress", "function", "value")):
        return  # what the caller's own functions raise is theirs
    arguments = good | changed
    if asks_for_hours(changed, arguments):
        return
    names = [*inspect.signature(function).parameters, *good]
    if "objective" in good or name.startswith("FreeEnergy."):
        names.append("x")  # as objectives call their argument when they refuse it
    try:
        # Whether NumPy speaks of overflow is its user's own setting; everything else that warns is a fault.
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.filterwarnings(
                "ignore", "overflow|invalid value|divide by zero", RuntimeWarning
            )
            function(**arguments)
    except (ValueError, TypeError) as error:
        text = str(error)
        found = any(re.search(rf"(?<!\w){re.escape(n)}(?!\w)", text) for n in names)
        path = changed.get("path", good.get("path"))
        assert found or (path is not None and str(path) in text), f"no argument named: {text}"
    except DOCUMENTED.get(name, ()):
        pass


def values_of(name):
    return st.dictionaries(
        st.sampled_from(sorted(CALLS[name][1])), st.sampled_from(POOL), min_size=1, max_size=2
    )


def limited(examples):
    return settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )


@pytest.mark.parametrize("name", CALLS)
def test_a_few_wrong_arguments(name):
    limited(12)(given(values_of(name))(lambda changed: walk(name, changed)))()


@pytest.mark.slow
@pytest.mark.parametrize("name", CALLS)
def test_many_wrong_arguments(name):
    choose = random.Random(name)  # without Hypothesis, which would take most of the time
    parameters = sorted(CALLS[name][1])
    for _ in range(2000):
        chosen = choose.sample(parameters, min(len(parameters), choose.choice((1, 1, 2))))
        changed = {parameter: choose.choice(POOL) for parameter in chosen}
        try:
            walk(name, changed)
        except BaseException as error:
            error.add_note(f"{name}: {changed!r}")
            raise


@pytest.mark.parametrize("name", CALLS)
def test_the_good_arguments_are_good(name):
    if name in ("meanfield.tasks.from_npz", "meanfield.tasks.cifar10", "Result.open"):
        pytest.skip("its file is not there")
    function, good = CALLS[name]
    function(**good)
