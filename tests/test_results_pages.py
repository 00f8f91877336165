"""What pages say of the tables of results is what the tables hold."""

import math
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NUMBERS = {10: "ten", 11: "eleven", 12: "twelve"}


def text(path):
    return (ROOT / path).read_text(encoding="utf-8")


def table(page, name):
    """The first number in each column of a start or a problem, by process, of one marked table of a page of results."""
    (block,) = re.findall(rf"<!-- {name} -->\n(.*?)<!-- /{name} -->", text(page), flags=re.DOTALL)
    rows = [
        [cell.strip(" *") for cell in line.split("|")[1:-1]]
        for line in block.splitlines()
        if line.startswith("|")
    ]
    return {row[0]: [number(cell) for cell in row[1:4]] for row in rows[2:]}


def number(cell):
    first = cell.split()[0].strip("*")
    return math.nan if first == "–" else float(first)


@pytest.fixture(scope="module")
def closest():
    """Of every start of a network on images whether the center with the half-step delay is the closest."""
    images, onsets = "docs/results/image_networks.md", "docs/results/onsets.md"
    places = [(images, "mlp"), (images, "cnn"), (images, "meanfield"), (onsets, "quiet")]
    found = []
    for page, name in places:
        models = {
            process: distances
            for process, distances in table(page, name).items()
            if not process.startswith("gradient descent")
        }
        delayed = models["free-energy flow, delay"]
        least = map(min, zip(*models.values(), strict=True))
        found += [own == best for own, best in zip(delayed, least, strict=True)]
    return found


@pytest.mark.parametrize(
    "path", ["README.md", "docs/guides/choosing.md", "docs/results/image_networks.md"]
)
def test_in_how_many_starts_the_delay_is_closest(path, closest):
    number, of = NUMBERS[sum(closest)], NUMBERS[len(closest)]
    assert re.search(rf"{number} (starts )?of {of}", text(path)), (number, of)


def test_distances_on_the_digits():
    digits = table("docs/results/comparison.md", "digits")
    said = text("README.md").replace("\n", " ")
    for words, process in [
        ("gradient flow", "gradient_flow"),
        ("; free-energy flow", "free_energy_flow"),
        ("; with delay", "half_step_delay"),
    ]:
        assert f"{words} {', '.join(f'{x:.2f}' for x in digits[process])}" in said, process
