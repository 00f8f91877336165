"""No module imports itself by way of others, neither when it is loaded nor deferred nor for the types alone.

import-linter sees that the modules and folders of one folder have no circles; this sees a folder and what is in it too.
"""

import pytest

grimp = pytest.importorskip("grimp")


@pytest.fixture(scope="module")
def imports():
    """Module -> those that it imports, in any way."""
    graph = grimp.build_graph(
        "meanfield", "solvers", exclude_type_checking_imports=False, cache_dir=None
    )
    return {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}


def circle(imports):
    """A circle of imports, or None: what is left once every module that imports nothing else is taken away, again and again."""
    left = {module: set(imported) for module, imported in imports.items()}
    while free := {module for module, imported in left.items() if not imported & left.keys()}:
        left = {module: imported for module, imported in left.items() if module not in free}
    if not left:
        return None
    way = [min(left)]
    while way[-1] not in way[:-1]:
        way.append(min(left[way[-1]] & left.keys()))
    return way[way.index(way[-1]) :]


def test_a_circle_is_found():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set()}) == ["b", "c", "b"]
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) is None


def test_no_module_imports_itself_by_way_of_others(imports):
    assert "meanfield._evaluation" in imports["meanfield.networks"]
    assert circle(imports) is None
