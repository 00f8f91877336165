"""Every benchmark runs, at tiny sizes with NumPy as the only peer, and tells what it promises; its checks can fail."""

import json
import re

import numpy as np
import pytest

import solvers
from tests.scripts.conftest import SCRIPTS

TIMING = {"median", "lower", "upper", "samples", "repeats", "cpu"}
MACHINE = {"processor", "cores", "threads", "python", "versions", "load_at_start", "load_at_end"}


@pytest.fixture
def run(load, tmp_path, capsys, monkeypatch):
    """A benchmark's JSON, its Markdown and its exit code."""
    # The contestants are processes of their own, and know the scripts by this path too.
    monkeypatch.setenv("PYTHONPATH", f"{SCRIPTS}:{SCRIPTS.parent}")

    def call(name, *options):
        arguments = ["--quick", "--threads", "1", "--rounds", "2", "--out", str(tmp_path), *options]
        code = load(name).main(arguments)
        text = (tmp_path / f"{name}.md").read_text(encoding="utf-8")
        assert (tmp_path / f"{name}.png").stat().st_size > 10_000
        data = json.loads((tmp_path / f"{name}.json").read_text(encoding="utf-8"))
        assert set(data["machine"]) >= MACHINE
        assert data["script"] == name
        printed = capsys.readouterr().out
        tables = re.findall(r"^## .*\n\n(?:\|.*\|\n)+", text, re.MULTILINE)
        assert tables
        assert all(table in printed for table in tables)
        return data, text, code

    return call


def check_timing(timing):
    assert set(timing) == TIMING
    assert 0 < timing["lower"] <= timing["median"] <= timing["upper"]
    assert timing["samples"] >= 1
    assert timing["repeats"] >= 1


STEP = ("--peers", "NumPy", "--sizes", "40x10x2", "--dtypes", "float64")


@pytest.mark.slow
def test_a_step_is_raced_checked_and_measured(run):
    data, text, code = run("bench_step", *STEP, "--sections", "race")
    (cell,) = data["race"]
    assert code == 0
    assert cell["size"] == {"particles": 40, "data": 10, "inputs": 2}
    assert set(cell["timings"]) == {"meanfield", "NumPy"}
    for timing in cell["timings"].values():
        check_timing(timing)
    median, least, most = cell["ratios"]["NumPy"]
    assert least <= median <= most
    ours, theirs = (cell["timings"][n]["median"] for n in ("meanfield", "NumPy"))
    assert median == pytest.approx(theirs / ours)
    for error in cell["accuracy"].values():
        assert 0 < error["relative"] < 1e-12
    for used in cell["memory"].values():
        assert used["peak"] >= used["imports"] > 1e7  # Python and NumPy alone are more
    assert set(cell["rates"]) == {"gemm", "tanh", "bandwidth"}
    assert cell["floor"]["seconds"] == cell["floor"]["recompute"]
    assert "Left out" not in text


@pytest.mark.slow
def test_our_gradient_alone_is_swept(run):
    sections = ("threads", "derivatives", "scaling", "memory")
    data, _, _ = run("bench_step", *STEP, "--sections", *sections)
    (threads,), (derivatives,) = data["threads"], data["derivatives"]
    assert threads["gain"] == 1  # one thread against one
    assert set(derivatives["over_gradient"]) == {"hvp", "third"}
    assert [s["over"] for s in data["scaling"]] == ["N", "n"]
    for sweep in data["scaling"]:
        assert sweep["sizes"][-1] == 100 * sweep["sizes"][0]
        assert sweep["error"] >= 0
    for used in data["memory"]["sizes"]:
        assert used["data_bytes"] > 0


@pytest.mark.slow
def test_a_wrong_gradient_does_not_take_part(run, load, monkeypatch):
    """In float32 the gradients are right to 1e-7 only: asked for more, all fail, ours by the exit code."""
    step = load("bench_step")
    monkeypatch.setitem(step.TOLERANCE, "float32", 1e-12)
    data, text, code = run("bench_step", *STEP[:-1], "float32", "--sections", "race")
    assert code == 1
    assert data["race"][0]["timings"] == {}
    assert all("its gradient is off by" in why for why in data["left_out"].values())
    assert "Left out: NumPy at 40x10x2 f4: its gradient is off by" in text


@pytest.mark.slow
def test_who_is_not_installed_is_named(run, load, monkeypatch):
    peers = load("bench_step").PEERS
    monkeypatch.setitem(peers, "NumPy", peers["NumPy"]._replace(needs="no_such_library"))
    data, text, _ = run("bench_step", *STEP, "--sections", "race")
    assert data["left_out"] == {"NumPy": "no_such_library is not installed"}
    assert "Left out: NumPy: no_such_library is not installed" in text
    assert set(data["race"][0]["timings"]) == {"meanfield"}


@pytest.mark.slow
def test_measures(load, tmp_path):
    load("bench_measures").main(["--quick", "--out", str(tmp_path)])
    data = json.loads((tmp_path / "bench_measures.json").read_text(encoding="utf-8"))
    assert {found["way"] for found in data["ways"]} == {"particles", "JKO", "PDE"}
    grids = [(found["flow"], found["order"], found["steps"]) for found in data["grids"]]
    names = ("porous medium", 1), ("aggregation–diffusion", 5)
    assert grids == [(name, order, steps) for name, steps in names for order in (1, 2)]
    assert all(found["seconds"] > 0 for found in data["grids"])


@pytest.mark.slow
def test_flows_eigenpairs_landscape_and_profile(run):
    data, _, _ = run("bench_flows")
    (result,) = data["flows"]
    assert result["flows"]["gradient descent"]["gradients"] == 1
    assert result["flows"]["gradient descent"]["over_descent"] == 1
    assert result["flows"]["free-energy flow, delay"]["gradients"] == 8
    pairs = data["eigenpairs"]
    assert len(pairs["own"]) == len(pairs["scipy"]) == pairs["calls"] == 3
    assert pairs["largest_relative_gap"] < 1e-10  # tolerance² over the gap
    ways = data["landscape"]["ways"]
    assert ways["solve"]["seconds_per_step"][1] < ways["a loop in NumPy"]["seconds_per_step"][1]
    profile = data["profile"]
    assert profile["missing"] == []
    assert sum(profile["shares"].values()) == pytest.approx(profile["seconds"])
    assert {"eigenpairs", "kernels: gradient", "output", "figures"} <= set(profile["shares"])


@pytest.mark.slow
def test_distances_are_right_where_they_are_known(run):
    data, _, _ = run("bench_transport", "--points", "40")
    exact, sliced, entropic = data["races"]
    assert [r["method"] for r in data["races"]] == ["exact", "sliced", "sinkhorn"]
    assert max(exact["error"].values()) < 1e-12
    assert (
        sliced["error"]["w2"] < 1e-12
    )  # a shift and a scale have no error in orthogonal directions
    assert 1e-12 < sliced["error"]["POT sliced"] < 0.3
    assert max(entropic["error"].values()) < 1e-3
    assert max(exact["value"].values()) == pytest.approx(min(exact["value"].values()), rel=1e-12)
    for one in data["races"]:
        for timing in one["timings"].values():
            check_timing(timing)


# --- what the numbers are made of ----------------------------------------------------------------


def test_quartiles_and_slopes_by_hand(load):
    bench = load("_bench")
    assert bench.quartiles([3.0]) == (3.0, 3.0, 3.0)
    assert bench.quartiles([1.0, 2.0, 3.0, 4.0, 5.0]) == (2.0, 3.0, 4.0)
    slope, error = bench.slope([1, 10, 100], [2, 200, 20_000])
    assert slope == pytest.approx(2)
    assert error == pytest.approx(0, abs=1e-6)


class FakeProcess:
    """Answers with given seconds; the k-th call of the race is logged."""

    def __init__(self, name, seconds, log):
        self.name, self.seconds, self.log = name, seconds, log

    def ask(self, method, call, repeats, warm):
        self.log.append((self.name, repeats))
        return self.seconds, 2 * self.seconds


def test_contestants_take_turns_and_the_slow_ones_fewer(load, monkeypatch):
    bench = load("_bench")
    monkeypatch.setattr(bench, "_PAUSE", 0)
    log = []
    lanes = {n: bench.Lane(FakeProcess(n, s, log), "x") for n, s in (("a", 0.01), ("b", 4.0))}
    plan = bench.Plan(rounds=6, least=2, budget=8.0, sample=0.05)
    timings, failed = bench.race(lanes, plan)
    assert not failed
    # two estimates each; then b in every third round only: 6 × 4 s are three times the budget
    turns = [name for name, _ in log[4:]]
    assert turns == ["a", "b", "a", "a", "a", "b", "a", "a"]
    assert {repeats for name, repeats in log[4:] if name == "a"} == {5}
    assert (timings["a"].samples, timings["b"].samples) == (6, 2)
    assert timings["b"].cpu == 8


def test_a_contestant_that_fails_gives_its_reason(load, monkeypatch):
    bench = load("_bench")
    monkeypatch.setenv("PYTHONPATH", str(SCRIPTS))
    with pytest.raises(bench.ContestantError, match="No module named 'no_such_module'"):
        bench.Process("no_such_module:x", {}, 1)
    arguments = {"size": [10, 5, 2], "dtype": "float64", "threads": 1}
    process = bench.Process("_step_peers:NumPy", arguments, 1)
    try:
        with pytest.raises(bench.ContestantError, match="KeyError"):
            process.ask("sample", "nothing", 1, 0)
    finally:
        process.close()


def test_the_floor_is_arithmetic_and_tanh_in_sequence(load):
    """By hand, with the rates 219 GFLOP/s and 3.3 G/s: 13.2, 88 and 21.3 ms."""
    floor, size = load("_floor").floor, load("_step_peers").Size
    rates = {"gemm": 219e9, "tanh": 3.3e9}
    assert floor(size(100_000, 200, 2), rates) == pytest.approx(13.2e-3, rel=5e-3)
    assert floor(size(100_000, 1000, 10), rates) == pytest.approx(88.0e-3, rel=5e-3)
    assert floor(size(10_000, 1000, 100), rates) == pytest.approx(21.3e-3, rel=5e-3)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_floor_s_own_tanh_is_tanh(load, dtype):
    """Six roundings of a value near 1 in the last steps."""
    numba = pytest.importorskip("numba")
    tanh = load("_floor")._tanh(np.dtype(dtype).type)
    x = np.linspace(-25, 25, 1001, dtype=dtype)

    @numba.njit
    def evaluate(x):
        y = np.empty_like(x)
        for j in range(x.size):
            y[j] = tanh(x[j])[0]
        return y

    exact = np.tanh(x.astype(np.float64))
    assert np.max(np.abs(evaluate(x) - exact)) < 4 * np.finfo(dtype).eps


@pytest.mark.parametrize(
    "value, text", [(0.1234567, "123 ms"), (2.0, "2.00 s"), (3.2e-6, "3.20 µs")]
)
def test_seconds_have_three_digits(load, value, text):
    assert load("_bench_report").seconds(value) == text


def test_three_digits(load):
    three = load("_bench_report").three
    assert [three(x) for x in (0.01234, 1.0, 99.96, 123.4, 12345.6)] == ["0.0123", "1.00", "100.0", "123", "12346"]  # fmt: skip


def test_the_page_gets_what_the_benchmarks_wrote(load, tmp_path):
    (tmp_path / "bench_a.md").write_text("# bench_a\n\nNew.\n\n## Table\n\n| 1 |\n")
    (tmp_path / "bench_a.png").write_bytes(b"plot")
    page = tmp_path / "docs" / "performance.md"
    page.parent.mkdir()
    other = "<!-- bench_b -->\nkept\n<!-- /bench_b -->\nend\n"
    page.write_text(f"start\n<!-- bench_a -->\nold\n<!-- /bench_a -->\n{other}")
    assert load("update_performance").update(page, tmp_path) == ["bench_a"]
    more = "All tables: {download}`bench_a.txt <tables/bench_a.txt>`."
    body = f"![bench_a](performance_a.png)\n\nNew.\n\n### Table\n\n| 1 |\n\n{more}"
    assert page.read_text() == f"start\n<!-- bench_a -->\n{body}\n<!-- /bench_a -->\n{other}"
    assert (page.parent / "performance_a.png").read_bytes() == b"plot"
    assert "## Table" in (page.parent / "tables" / "bench_a.txt").read_text()


def test_the_page_shows_some_tables_and_what_they_depend_on(load):
    text = "# a\n\n2026, a machine.\n\n## One\n\n| 1 |\n\n## Two\n\n| 2 |\n"
    shown = load("update_performance").chosen(text, ("Two",))
    assert shown == "2026, a machine.\n\n### Two\n\n| 2 |"
    every = load("update_performance").SHOWN
    assert set(every) == {"bench_step", "bench_flows", "bench_transport"}


def test_a_page_without_a_place_for_a_part_is_refused(load, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("<!-- a -->")
    with pytest.raises(ValueError, match="page.md must have <!-- a --> and <!-- /a -->, got"):
        load("_pages").splice(page, "a", "")


def test_an_iteration_of_a_flow_is_timed_with_all_its_evaluations(load, monkeypatch):
    """The clock counts evaluations: of gradient descent one per iteration, also of that evaluated ahead with the first record."""
    script, evaluated = load("bench_flows"), [0]

    class Bowl:
        def value(self, x):
            return 0.5 * float(x @ x)

        def gradient(self, x):
            evaluated[0] += 1
            return x.copy()

        def value_and_gradient(self, x):
            return self.value(x), self.gradient(x)

    monkeypatch.setattr(script.time, "process_time", lambda: float(evaluated[0]))
    timed = script._Timed(solvers.GradientDescent(0.1), Bowl(), np.ones(3))
    for steps in (1, 4):
        timed.advance(steps)
    assert timed.samples == [1.0, 1.0]
    assert timed.counts == {"gradients": 5, "hvps": 0, "thirds": 0}
