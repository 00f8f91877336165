import re
import tomllib
from pathlib import Path

import pytest

import meanfield

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
