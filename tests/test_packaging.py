import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import meanfield
import solvers

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_the_version_is_the_same_everywhere(project):
    assert project["project"]["version"] == meanfield.__version__
    citation = (ROOT / "CITATION.cff").read_text()
    assert re.search(r"^version: (.*)$", citation, re.M)[1] == meanfield.__version__


def test_the_wheel_takes_the_data_and_the_type_markers(project):
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["force-include"] == {"data": "meanfield/data"}
    assert (ROOT / "data/digits.npz").is_file() and (ROOT / "data/README.md").is_file()
    for package in wheel["packages"]:
        assert (ROOT / package / "py.typed").is_file()


def test_the_source_distribution_has_what_the_tests_and_the_documentation_are_made_of(project):
    """pyproject.toml, the readme and the licence are always in it; what git ignores, as the built documentation, never."""
    included = project["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    assert all((ROOT / path).exists() for path in included)
    pages = {path.name for path in ROOT.glob("*.md")} - {project["project"]["readme"]}
    assert pages <= set(included)
    assert {"meanfield", "solvers", "data", "tests", "scripts", "docs"} <= set(included)
    assert "/docs/_build/" in (ROOT / ".gitignore").read_text().split()


def test_old_public_paths_are_importable_for_one_version():
    """Each in a process of its own: what is imported stays."""
    code = (
        "import warnings\n"
        "with warnings.catch_warnings(record=True) as said:\n"
        "    warnings.simplefilter('always')\n"
        "    from solvers.energies import Potential\n"
        "assert 'has moved to solvers.measures.energies' in str(said[0].message)\n"
        "import solvers\n"
        "from solvers import energies\n"
        "assert energies.Potential is solvers.energies.Potential is Potential\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_public_name_of_the_lazy_packages_is_there():
    for package in (meanfield, solvers):
        assert set(package._HOME) <= set(package.__all__)
        for name in package.__all__:
            assert getattr(package, name) is not None


def test_the_addresses_are_those_of_sources_of_the_table_of_models(project):
    table = (ROOT / "README.md").read_text(encoding="utf-8")
    for address in project["project"]["urls"].values():
        assert re.fullmatch(r"https://arxiv\.org/abs/(\d{4}\.\d{5})", address)
        assert "arXiv:" + address[-10:] in table
