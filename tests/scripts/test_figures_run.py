"""Every figure script runs, in its few quick steps, and writes its figures and tables."""

import math
import re

import pytest

from tests.scripts.conftest import SCRIPTS

FLOWS = [
    "gradient descent",
    "gradient descent, one rounding away",
    "gradient flow",
    "free-energy flow",
    "free-energy flow, exact growth",
    "free-energy flow, delay",
    "rod flow",
    "edge flow",
    "central flow",
]
LAWS = ["normalised gradient descent", "gradient descent on √E"]
# script: its options, its figures, the first column of the tables of each of its files
CASES = {
    "fig_minimal_valley": (
        [],
        ["minimal_valley", "minimal_valley_drift"],
        {"minimal_valley": [FLOWS, ["0.000", "0.250", "0.471", "0.700", "1.000"]]},
    ),
    "fig_degree_four": ([], ["degree_four"], {"degree_four": [FLOWS, ["300"]]}),
    "fig_matrix_factorization": (
        [],
        ["matrix_factorization"],
        {"matrix_factorization": [FLOWS]},
    ),
    "fig_sharpness_flow": (
        [],
        ["sharpness_flow"],
        {"sharpness_flow": [[law for law in LAWS for _ in range(4)]]},
    ),
    # the mean-field network would compile its kernels
    "fig_image_networks": (
        ["--only", "quiet", "--seeds", "2"],
        ["image_networks_quiet", "image_networks_quiet_1"],
        {"image_networks_quiet": [FLOWS, FLOWS, FLOWS, FLOWS]},
    ),
}
CASES["fig_onset"] = (
    ["--only", "mlp"],
    ["onset"],
    {
        "onset": [
            [
                *FLOWS[:2],
                "free-energy flow, delay",
                "free-energy flow, delay, other seeds",
                "free-energy flow, delay, no noise",
            ]
        ]
    },
)
NUMBER = re.compile(r"[-+]?(\d+\.?\d*(e[-+]?\d+)?|nan|inf)( %)?")


def tables(path):
    """Of a Markdown file: header and rows of each, as cells."""
    blocks = re.findall(r"((?:^\|.*\|\n)+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    for block in blocks:
        header, rule, *rows = (line.strip("|").split("|") for line in block.splitlines())
        assert all(set(cell.strip()) == {"-"} for cell in rule)
        yield [[cell.strip() for cell in row] for row in (header, *rows)]


def numbers(row):
    return [float(cell.removesuffix(" %")) for cell in row if NUMBER.fullmatch(cell)]


def test_every_figure_script_is_run_here():
    assert {path.stem for path in SCRIPTS.glob("fig_*.py")} == set(CASES)


SLOW = {"fig_image_networks", "fig_onset"}  # PyTorch


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] if n in SLOW else []) for n in CASES]
)
def test_figures_and_tables_are_written(name, load, tmp_path):
    if name in SLOW:
        pytest.importorskip("torch")
    options, figures, expected = CASES[name]
    load(name).main(["--quick", "--out", str(tmp_path), *options])
    assert {path.stem for path in tmp_path.glob("*.png")} == set(figures)
    assert {path.stem for path in tmp_path.glob("*.md")} == set(expected)
    assert all(path.stat().st_size > 10_000 for path in tmp_path.glob("*.png"))
    for stem, processes in expected.items():
        found = list(tables(tmp_path / f"{stem}.md"))
        assert [[row[0] for row in rows] for _, *rows in found] == processes
        for header, *rows in found:
            assert all(len(row) == len(header) for row in rows)
            assert all(math.isfinite(value) for row in rows for value in numbers(row))
            if "status" in header:
                assert {row[-1] for row in rows} == {"complete"}
                # the distance to gradient descent: none of its own, its rounding's, some of every flow's
                errors = [float(row[1].removesuffix(" †")) for row in rows]
                assert errors[0] == 0 <= errors[1] < 1e-9 < min(errors[2:])


@pytest.mark.slow
def test_the_sharpness_flow_s_table_replaces_an_earlier_one_and_has_the_orders(load, tmp_path):
    """Distance O(η), error along the manifold O(η²): within 0.2 at the quick run's two finest steps."""
    (tmp_path / "sharpness_flow.md").write_text("| earlier |\n")
    load("fig_sharpness_flow").main(["--quick", "--out", str(tmp_path), "--format", "svg"])
    assert (tmp_path / "sharpness_flow.svg").read_text(encoding="utf-8").startswith("<?xml")
    ((header, *rows),) = tables(tmp_path / "sharpness_flow.md")
    along, distance = (i for i, name in enumerate(header) if name == "order")
    for row in rows[3], rows[7]:
        assert float(row[along]) == pytest.approx(2, abs=0.2)
        assert float(row[distance]) == pytest.approx(1, abs=0.2)
