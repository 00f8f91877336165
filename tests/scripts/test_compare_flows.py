"""The tables of docs/results/comparison.md."""

import pytest

import meanfield
from meanfield.study.analysis.comparison import PERTURBED_TITLE


@pytest.fixture
def flows(load):
    return load("compare_flows")


def rows(flows, *distances):
    """A comparison of models with these final distances, the first of them gradient descent's own."""
    names = ("gradient_descent", PERTURBED_TITLE, *"abc")
    empty = dict.fromkeys((*flows.COLUMNS, *flows.EVALUATIONS, "onset_delay"))
    values = zip(names, (None, *distances), strict=False)
    return [{"process": name, **empty, "final_distance": value} for name, value in values]


def test_every_problem_has_three_starts_and_says_which(flows):
    for problem in flows.PROBLEMS:
        studies = [flows.study_of(problem, seed) for seed in range(3)]
        assert len({study.to_toml() for study in studies}) == 3
        assert len({flows.name_of(problem, seed) for seed in range(3)}) == 3
    published = flows.study_of("valley", 0).landscape
    assert published.start == published.build().start
    published = flows.study_of("matrix_factorization", 0).landscape
    assert published.start == published.build().start


def test_the_smallest_is_bold_unless_some_cannot_be_ranked(flows):
    assert flows.column(rows(flows, 0.1, 0.3, 0.2, None), "final_distance") == [
        *("–", "0.1", "0.3", "**0.2**", "–")
    ]
    assert flows.column(rows(flows, 0.2, 0.1, 0.2, 0.3), "final_distance") == [
        *("–", "0.2", "0.1 †", "0.2 †", "0.3")
    ]


def test_means_and_starts(flows):
    runs = [rows(flows, 0.1, 0.3, 0.2), rows(flows, 0.3, 0.1, None)]
    mean = flows.average(runs)
    assert [row["final_distance"] for row in mean] == [None, 0.2, 0.2, None]
    text = flows.section("valley", runs)
    assert "| process | (0, 6) | (0, 6.2) |" in text
    assert "| a | 0.3 (–) | 0.1 † (–) |" in text


@pytest.mark.slow
@pytest.mark.essential
def test_it_runs(flows, tmp_path, capsys):
    page = tmp_path / "page.md"
    page.write_text("before <!-- matrix_factorization -->old<!-- /matrix_factorization --> after")
    short = ["--only", "matrix_factorization", "--steps", "2", "--out", str(tmp_path)]
    flows.main([*short, "--page", str(page)])
    head, _, rest = page.read_text(encoding="utf-8").partition("\n| process |")
    assert head.startswith("before <!-- matrix_factorization -->") and "old" not in rest
    assert rest.endswith("<!-- /matrix_factorization --> after")
    for what in ("Python 3", "numpy", "cores", f"meanfield {meanfield.__version__}"):
        assert what in rest
    text = (tmp_path / "comparison.md").read_text(encoding="utf-8")
    assert capsys.readouterr().out.strip() == text.strip()
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(lines) == 2 + 9 and len({line.count("|") for line in lines}) == 1
    assert lines[3].startswith(f"| {PERTURBED_TITLE} |")
    assert list(tmp_path.rglob("compare.png"))
