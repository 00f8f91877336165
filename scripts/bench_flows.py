"""What flows, eigenpairs, small landscapes and the default run cost.

    python scripts/bench_flows.py --out benchmarks

prints and writes ``bench_flows.md``, ``.json`` and ``.png``:

- flows: an iteration of every flow on the digits (N = 400, n = 300, and larger), in gradients, Hessian products and third
  derivatives as counted, and in processor seconds over those of gradient descent, timed in turn from where it is at the edge of
  stability;
- eigenpairs: Hessian products per call of ``top_eigenpairs`` along gradient descent on the digits, warm-started at the vectors
  of the call before, against SciPy's ``eigsh`` with the same start;
- landscape: steps per second of gradient descent in the valley: ``solve`` compiled, ``solve`` one step at a time, a loop in
  NumPy, a loop over plain floats;
- precision: evaluations per iteration, a Hessian product counting twice, error against a fine run and processor time over
  gradient descent's, of gradient flow, free-energy flow and edge flow by their default and other schemes, on the digits, in the
  valley, of a wide network and of an MLP on the images of ``--images``, on the digits without;
- profile: where the processor seconds of ``meanfield run`` go.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import _run_profile
import _work_precision
import numpy as np
from _bench import quartiles
from _bench_report import Report, parser, race_options, say, seconds, three

SECTIONS = ("flows", "eigenpairs", "landscape", "precision", "profile")
ETA = 0.6
GD = "gradient descent"
_COUNTS = ("gradients", "hvps", "thirds")
precision = _work_precision.precision  # a section, as the functions below


# --- an iteration of every flow ------------------------------------------------------------------


def _flows() -> dict[str, Any]:
    import solvers

    free = solvers.FreeEnergyFlow
    return {
        GD: solvers.GradientDescent(ETA),
        "normalised gradient descent": solvers.NormalizedGradientDescent(ETA),
        "gradient descent on √E": solvers.SqrtLossGradientDescent(ETA),
        "Langevin": solvers.Langevin(ETA, 1e-6, seed=0),
        "gradient flow": solvers.GradientFlow(ETA),
        "gradient flow, delay": solvers.GradientFlow(ETA, delay=True),
        "free-energy flow": free(ETA),
        "free-energy flow, exact growth": free(ETA, growth="exact"),
        "free-energy flow, Taylor": free(ETA, closure="taylor"),
        "free-energy flow, Taylor, rank 2": free(ETA, closure="taylor", rank=2),
        "free-energy flow, delay": free(ETA, delay=True),
        "rod flow": solvers.RodFlow(ETA),
        "edge flow": solvers.EdgeFlow(ETA),
        "central flow": solvers.CentralFlow(ETA),
        "minimising movements": solvers.JKOFlow(ETA),
    }


class _Timed:
    """A flow that goes on from where it was; the processor seconds of every iteration, those of what is recorded left out."""

    def __init__(self, flow: Any, objective: Any, x0: Any) -> None:
        from meanfield.study.engine.counting import CountingObjective

        self.flow, self.state = flow, x0
        self.counting = CountingObjective(objective)
        self.samples: list[float] = []
        self.counts = dict.fromkeys(_COUNTS, 0)

    def advance(self, steps: int) -> None:
        """So many iterations and two, which are not counted.

        The solution is recorded before the first, together with the gradient that it goes on with, and at the end of the last.
        """
        import solvers

        marks: list[tuple[float, dict[str, float]]] = []

        def mark(done: int, total: int) -> None:
            with self.counting.paused() as readings:
                marks.append((time.process_time(), {k: readings[k] for k in _COUNTS}))

        solution = solvers.solve(
            self.flow, self.counting, self.state, steps + 2, save_every=steps + 2, progress=mark
        )
        if solution.status != "complete":
            raise RuntimeError(f"{self.flow}: {solution.message}")
        self.state = solution.state
        (began, before), (ended, after) = marks[1], marks[-2]
        self.samples.append((ended - began) / steps)
        for key in _COUNTS:
            self.counts[key] += after[key] - before[key]


def flows(options: argparse.Namespace, report: Report) -> list[dict[str, Any]]:
    sizes = [(20, 30)] if options.quick else [(400, 300), (2000, 1500)]
    return [_flows_at(*size, options, report) for size in sizes]


def _flows_at(
    particles: int, n: int, options: argparse.Namespace, report: Report
) -> dict[str, Any]:
    risk, x0 = _digits(particles, n)
    start = _descend(risk, x0, 5 if options.quick else 150)
    steps = 1 if options.quick or particles > 1000 else 4
    timed, rounds = {}, max(2, options.rounds // (7 if particles > 1000 else 3))
    for name, flow in _flows().items():
        say(f"{name}, N = {particles}")
        timed[name] = _Timed(flow, risk, start)
        try:
            timed[name].advance(1)  # compiles
        except (RuntimeError, ValueError) as error:
            report.leave_out(f"{name} on digits, N = {particles}", str(error))
            del timed[name]
            continue
        timed[name].samples.clear()
        timed[name].counts = dict.fromkeys(_COUNTS, 0)
    for _ in range(rounds):
        for one in timed.values():
            slow = (
                one.samples and sum(one.samples) * steps > options.budget and len(one.samples) > 1
            )
            if not slow:
                one.advance(steps)
    unit = statistics.median(timed[GD].samples)
    rows, found = [], {}
    for name, one in timed.items():
        iterations = steps * len(one.samples)
        lower, median, upper = quartiles(one.samples)
        counts = {key: count / iterations for key, count in one.counts.items()}
        found[name] = {"seconds": [lower, median, upper], "over_descent": median / unit,
                       "samples": len(one.samples), **counts}  # fmt: skip
        spread = f"{three(median / unit)} [{three(lower / unit)}, {three(upper / unit)}]"
        rows.append([name, *(f"{counts[k]:.3g}" for k in _COUNTS), spread, seconds(median), str(len(one.samples))])  # fmt: skip
    header = ["flow", "∇E", "Hv", "∇³E", "time over descent's [quartiles]", "time", "samples"]
    report.table(f"An iteration on the digits, N = {particles}, n = {n}", header, rows)
    return {"particles": particles, "data": n, "eta": ETA, "flows": found}


def _digits(particles: int, n: int) -> tuple[Any, Any]:
    import meanfield

    task = meanfield.tasks.digits(n=n)
    risk = meanfield.Risk(meanfield.TwoLayerNetwork(task.inputs.shape[1]), task)
    return risk, risk.network.initialize(particles, seed=0)


def _descend(risk: Any, x: Any, steps: int, eta: float = ETA) -> Any:
    for _ in range(steps):
        x = x - eta * risk.gradient(x)
    return x


# --- eigenpairs ----------------------------------------------------------------------------------


class _Counted:
    """An objective that counts Hessian products."""

    def __init__(self, objective: Any) -> None:
        self.objective, self.products = objective, 0

    def hvp(self, x: Any, v: Any) -> Any:
        self.products += 1
        return self.objective.hvp(x, v)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.objective, name)


def eigenpairs(options: argparse.Namespace, report: Report) -> dict[str, Any]:
    """At the center, every ten iterations of gradient descent with η = 1 on the digits, as ``meanfield run`` does."""
    import solvers

    steps, every = (20, 10) if options.quick else (400, 10)
    risk, x0 = _digits(*((30, 30) if options.quick else (400, 300)))
    own, theirs, gaps = [], [], []
    times = {"own": 0.0, "scipy": 0.0}
    vectors = None

    def observe(o: solvers.Observation) -> None:
        nonlocal vectors
        if o.step % every:
            return
        counted = _Counted(risk)
        began = time.perf_counter()
        pairs = solvers.top_eigenpairs(counted, o.center, start=vectors)
        times["own"] += time.perf_counter() - began
        own.append(counted.products)
        start = np.random.default_rng(0).standard_normal(x0.size) if vectors is None else vectors
        began = time.perf_counter()
        value, products = _scipy(risk, o.center, start.ravel())
        times["scipy"] += time.perf_counter() - began
        theirs.append(products)
        gaps.append(abs(value / pairs.values[0] - 1))
        vectors = pairs.vectors if pairs.converged else None

    solvers.solve(solvers.GradientDescent(1.0), risk, x0, steps, save_every=steps, observe=observe)
    found = {"every": every, "calls": len(own), "largest_relative_gap": max(gaps), "seconds": times,
             "own": own, "scipy": theirs}  # fmt: skip
    rows = []
    for name, counts in (("top_eigenpairs", own), ("scipy.sparse.linalg.eigsh", theirs)):
        later = counts[1:]
        total = times["own" if counts is own else "scipy"]
        later_mean, most = f"{statistics.fmean(later):.1f}", str(max(later))
        rows.append([name, str(counts[0]), later_mean, most, seconds(total)])
    note = (f"{len(own)} calls, every {every} iterations of gradient descent, η = 1, tolerance 1e-6; the two agree on the "
            f"largest eigenvalue to {max(gaps):.1e}.")  # fmt: skip
    header = ["", "first call", "later calls, mean", "later calls, most", "time in all"]
    report.table("Hessian products along the digits run", header, rows, note)
    return found


def _scipy(risk: Any, x: Any, start: Any) -> tuple[float, int]:
    from scipy.sparse.linalg import LinearOperator, eigsh

    products = 0

    def product(v: Any) -> Any:
        nonlocal products
        products += 1
        return risk.hvp(x, v.reshape(x.shape)).ravel()

    operator = LinearOperator((x.size, x.size), matvec=product, dtype=x.dtype)
    values = eigsh(operator, k=1, which="LA", v0=start, tol=1e-6, return_eigenvectors=False)
    return float(values[0]), products


# --- a small landscape ---------------------------------------------------------------------------


def landscape(options: argparse.Namespace, report: Report) -> dict[str, Any]:
    """Gradient descent in the valley, η = 0.3."""
    import meanfield
    import solvers

    valley, flow = meanfield.landscapes.Valley(), solvers.GradientDescent(0.3)
    x0 = np.array(valley.start)
    many, few = (100_000, 500) if options.quick else (5_000_000, 20_000)

    def solve(steps: int, observe: Any = None) -> Any:
        return solvers.solve(
            flow, valley, x0, steps, save_every=min(steps, 100_000), observe=observe
        )

    def plain(steps: int) -> Any:
        zeta, epsilon, x = valley.zeta, valley.epsilon, x0
        for _ in range(steps):
            bend = x[1] + zeta * x[0]
            slope = [bend * x[0] + 0.5 * zeta * x[0] ** 2, 0.5 * x[0] ** 2]
            x = x - 0.3 * (np.array(slope) - epsilon)
        return x

    def floats(steps: int) -> Any:
        zeta, epsilon, (x, y) = valley.zeta, valley.epsilon, map(float, x0)
        for _ in range(steps):
            bend = y + zeta * x
            x, y = (
                x - 0.3 * (bend * x + 0.5 * zeta * x * x - epsilon),
                y - 0.3 * (0.5 * x * x - epsilon),
            )
        return np.array([x, y])

    began = time.perf_counter()
    solve(100_000)
    first = time.perf_counter() - began
    _check_same(solvers, valley, flow, x0, plain, floats)
    ways: dict[str, tuple[int, Callable[[int], Any]]] = {
        "solve": (many, solve),
        "solve, one step at a time": (few, lambda steps: solve(steps, lambda o: None)),
        "a loop in NumPy": (few, plain),
        "a loop over plain floats": (10 * few, floats),
    }
    samples: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(2 if options.quick else 5):
        for name, (steps, call) in ways.items():
            began = time.perf_counter()
            call(steps)
            samples[name].append((time.perf_counter() - began) / steps)
    found = {name: {"steps": ways[name][0], "seconds_per_step": quartiles(s)} for name, s in samples.items()}  # fmt: skip
    own = statistics.median(samples["solve"])
    rows = []
    for name, s in samples.items():
        median = statistics.median(s)
        rows.append([name, f"{ways[name][0]:,}", f"{1 / median:,.0f}", three(median / own)])
    note = (f"The first call, of 100,000 steps, took {seconds(first)}, nearly all of it compilation; {many:,} steps then "
            f"take {seconds(own * many)}. Every 100,000th state is kept.")  # fmt: skip
    header = ["", "steps", "steps per second", "time over solve's"]
    report.table("Gradient descent in the valley", header, rows, note)
    return {"first_call": first, "ways": found}


def _check_same(
    solvers: Any, valley: Any, flow: Any, x0: Any, *loops: Callable[[int], Any]
) -> None:
    """The loops are the same descent: to rounding, on a stretch that is not chaotic."""
    exact = solvers.solve(flow, valley, x0, 200, save_every=200).iterates[-1]
    for loop in loops:
        if not np.allclose(loop(200), exact, rtol=1e-9, atol=1e-12):
            raise AssertionError("a loop does not do gradient descent in the valley")


# --- the default run -----------------------------------------------------------------------------


def profile(options: argparse.Namespace, report: Report) -> dict[str, Any]:
    """Exclusive seconds of ``meanfield run`` by what they are spent on; a second run, compiled kernels being on disk."""
    settings = ("steps=10", "network.width=20", "task.n=20") if options.quick else ()
    runs = [_run_profile.profile(settings) for _ in range(2)]
    found = runs[-1]
    for name in found["missing"]:
        report.leave_out(f"{name} in the profile", "there is no such function in this version")
    total = found["seconds"]
    rows = [
        [what, seconds(spent), f"{100 * spent / total:.1f} %", str(found["calls"].get(what, ""))]
        for what, spent in sorted(found["shares"].items(), key=lambda pair: -pair[1])
    ]
    note = f"In all {seconds(total)}; the first run in this process took {seconds(runs[0]['seconds'])}."
    report.table(
        "Where the seconds of `meanfield run` go", ["", "time", "share", "calls"], rows, note
    )
    return found | {"first_seconds": runs[0]["seconds"]}


def _figure(data: dict[str, Any]) -> Any:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    from meanfield.study.figures import STYLE

    with rc_context({**STYLE, "axes.titlesize": 10}):
        diagrams = data.get("precision", [])
        height = 2.6 * len({one["case"] for one in diagrams if len(one["schemes"]) > 1})
        drawn = Figure(figsize=(11, 4.5 + height), layout="constrained")
        ratios = [4.5, height][: 2 if diagrams else 1]
        rows = drawn.subfigures(len(ratios), 1, squeeze=False, height_ratios=ratios)[:, 0]
        left, right = rows[0].subplots(1, 2)
        if diagrams:
            _work_precision.draw(rows[1], diagrams)
        for result in data.get("flows", []):
            names = list(result["flows"])
            label = f"N = {result['particles']}, n = {result['data']}"
            left.plot([result["flows"][n]["over_descent"] for n in names], names, "o", label=label)
        left.set(xscale="log", xlabel="time of an iteration / gradient descent's")
        left.invert_yaxis()
        if data.get("flows"):
            left.legend()
        shares = data.get("profile", {}).get("shares", {})
        right.barh(list(shares), list(shares.values()))
        right.set(xlabel="seconds", title="meanfield run")
        right.invert_yaxis()
        if not shares:
            right.remove()
    return drawn


def main(argv: Sequence[str] | None = None) -> int:
    made = race_options(parser(__doc__))
    made.add_argument("--sections", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    made.add_argument(
        "--images", type=Path, help="folder with the binary or Python files of CIFAR-10"
    )
    made.add_argument("--problems", nargs="+", help="of the section precision, by their beginnings")
    options = made.parse_args(argv)
    if options.quick:
        options.rounds, options.budget = 4, 0.5
    _hold_threads(options.threads)
    report = Report("bench_flows", options)
    for section in SECTIONS:
        if section in options.sections:
            report.data[section] = globals()[section](options, report)
    report.figure(_figure(report.data))
    report.write()
    return 0


def _hold_threads(threads: int) -> None:
    import numba
    from threadpoolctl import threadpool_limits

    threadpool_limits(threads)
    numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))


if __name__ == "__main__":
    sys.exit(main())
