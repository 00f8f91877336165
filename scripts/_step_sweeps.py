"""Of our gradient alone: threads, higher derivatives, how time and memory grow; and the figure of the whole benchmark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from _bench import Lane, Plan, Process, race, slope
from _bench_report import Report, milliseconds, say, three
from _step_peers import Size

_DECADES = 5  # points over two decades
_OURS = "_step_peers:Ours"


def _start(size: Size, dtype: str, threads: int, factory: str = _OURS) -> Process:
    arguments = {"size": list(size), "dtype": dtype, "threads": threads}
    return Process(factory, arguments, threads)


def _plan(options: Any) -> Plan:
    return Plan(options.rounds, budget=options.budget)


def _race(lanes: Mapping[str, Lane], options: Any) -> dict[str, Any]:
    try:
        timings, failed = race(lanes, _plan(options))
    finally:
        for lane in lanes.values():
            lane.process.close()
    if failed:
        raise RuntimeError(str(failed))
    return timings


def threads(options: Any, report: Report) -> list[dict[str, Any]]:
    """Ours on one thread against all."""
    found, rows = [], []
    counts = sorted({1, options.threads})
    for size in options.sizes:
        for dtype in options.dtypes:
            say(f"threads: {size} {dtype}")
            lanes = {str(t): Lane(_start(size, dtype, t), "step") for t in counts}
            timings = _race(lanes, options)
            gain = timings["1"].median / timings[str(options.threads)].median
            found.append({"size": size._asdict(), "dtype": dtype, "timings": timings, "gain": gain})
            times = [milliseconds(timings[str(t)]) for t in counts]
            rows.append([str(size), dtype, *times, three(gain)])
    header = ["N x n x d", "dtype", *(f"{t} threads, ms" for t in counts), "gain"]
    report.table("Our step on one thread and on all", header, rows)
    return found


def derivatives(options: Any, report: Report) -> list[dict[str, Any]]:
    """Hessian product and third derivative, in gradients."""
    found, rows = [], []
    for size in options.sizes:
        for dtype in options.dtypes:
            say(f"derivatives: {size} {dtype}")
            process = _start(size, dtype, options.threads, "_step_peers:Derivatives")
            lanes = {name: Lane(process, name) for name in ("gradient", "hvp", "third")}
            timings = _race(lanes, options)
            over = {n: timings[n].median / timings["gradient"].median for n in ("hvp", "third")}
            found.append({"size": size._asdict(), "dtype": dtype, "timings": timings, "over_gradient": over})  # fmt: skip
            times = [milliseconds(timings[name]) for name in lanes]
            rows.append([str(size), dtype, *times, *map(three, over.values())])
    header = ["N x n x d", "dtype", "gradient, ms", "hvp, ms", "third, ms", "hvp / gradient", "third / gradient"]  # fmt: skip
    report.table("Higher derivatives", header, rows)
    return found


def scaling(options: Any, report: Report) -> list[dict[str, Any]]:
    """Time of a step over N at n = 200, and over n at N = 10⁴, d = 2: slopes of the logarithms."""
    scale = 20 if options.quick else 1
    particles, data = 10_000 // scale, 200 // min(scale, 4)
    factors = [10 ** (2 * k / (_DECADES - 1)) for k in range(_DECADES)]
    sweeps = {
        "N": [Size(round(particles * f), data, 2) for f in factors],
        "n": [Size(particles, round(data * f), 2) for f in factors],
    }
    found, rows = [], []
    for axis, sizes in sweeps.items():
        for dtype in options.dtypes:
            for count in sorted({1, options.threads}):
                say(f"scaling: {axis} {dtype} {count} threads")
                lanes = {str(size): Lane(_start(size, dtype, count), "step") for size in sizes}
                timings = _race(lanes, options)
                xs = [getattr(size, {"N": "particles", "n": "data"}[axis]) for size in sizes]
                ys = [timings[str(size)].median for size in sizes]
                rate, error = slope(xs, ys)
                found.append({"over": axis, "dtype": dtype, "threads": count, "sizes": xs, "seconds": ys,
                              "timings": timings, "slope": rate, "error": error})  # fmt: skip
                ends = f"{xs[0]:,} to {xs[-1]:,}"
                rows.append([axis, ends, dtype, str(count), f"{rate:.3f} ± {error:.3f}"])
    header = ["over", "from", "dtype", "threads", "slope of log time"]
    report.table("Growth of a step's time", header, rows, "Least squares, with the standard error.")
    return found


def memory(options: Any, report: Report) -> dict[str, Any]:
    """Peak of a step over n at fixed N; of a million particles."""
    particles, million = (2000, 20_000) if options.quick else (100_000, 1_000_000)
    data = (50, 500) if options.quick else (100, 1000, 10_000)
    sizes = [Size(particles, n, 2) for n in data] + [Size(million, 200, 2)]
    found, rows = [], []
    for size in sizes:
        for dtype in options.dtypes:
            say(f"memory: {size} {dtype}")
            process = _start(size, dtype, options.threads)
            try:
                used = process.ask("memory", "step")
            finally:
                process.close()
            item = {"float64": 8, "float32": 4}[dtype]
            own = item * (size.particles * 2 * (size.inputs + 2) + size.data * (size.inputs + 2))
            found.append({"size": size._asdict(), "dtype": dtype, "data_bytes": own, **used})
            above = used["peak"] - used["imports"]
            cells = [above, own, used["peak"], item * size.particles * size.data]
            rows.append([str(size), dtype, *(f"{b / 1e6:.1f}" for b in cells)])
    columns = ("above the imports", "particles, gradient, data", "whole process", "an N × n array")
    header = ["N x n x d", "dtype", *columns]
    report.table("Memory of our step, MB", header, rows)
    return {"sizes": found}


def figure(data: Mapping[str, Any]) -> Any:
    """Left: times of the race over the floor; right: growth."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    from meanfield.study.figures import STYLE

    with rc_context({**STYLE, "axes.titlesize": 10}):
        drawn = Figure(figsize=(11, 4.5), layout="constrained")
        left, right = drawn.subplots(1, 2, width_ratios=(3, 2))
        _draw_race(left, data.get("race", []))
        _draw_scaling(right, data.get("scaling", []))
    return drawn


def _draw_race(ax: Any, cells: Sequence[Mapping[str, Any]]) -> None:
    names = list(dict.fromkeys(name for cell in cells for name in cell["timings"]))
    for k, name in enumerate(names):
        xs = [i for i, cell in enumerate(cells) if name in cell["timings"]]
        of = [(cells[i]["timings"][name], cells[i]["floor"]["seconds"]) for i in xs]
        ys = [t.median / least for t, least in of]
        spread = [
            [(t.median - t.lower) / b for t, b in of],
            [(t.upper - t.median) / b for t, b in of],
        ]
        shifted = [x + 0.6 * (k / max(len(names) - 1, 1) - 0.5) for x in xs]
        ax.errorbar(shifted, ys, yerr=spread, fmt="o" if k else "*", markersize=10 if not k else 5, label=name)  # fmt: skip
    labels = [
        "{particles:,}\n{data:,}\n{inputs:,}\n".format(**c["size"]) + c["dtype"] for c in cells
    ]
    ax.set(yscale="log", ylabel="time / the machine's floor", title="A step: N, n, d")
    ax.set_xticks(range(len(cells)), labels, fontsize=7)
    if names:
        ax.legend(fontsize=7, ncols=2)


def _draw_scaling(ax: Any, sweeps: Sequence[Mapping[str, Any]]) -> None:
    for sweep in sweeps:
        if sweep["dtype"] == sweeps[0]["dtype"]:
            label = f"over {sweep['over']}, {sweep['threads']} threads: slope {sweep['slope']:.2f}"
            start = sweep["sizes"][0]
            ax.loglog([x / start for x in sweep["sizes"]], sweep["seconds"], "o-", label=label)
    title = "Growth of our step's time" + (f", {sweeps[0]['dtype']}" if sweeps else "")
    ax.set(xlabel="size / smallest", ylabel="seconds", title=title)
    if sweeps:
        ax.legend(fontsize=7)
