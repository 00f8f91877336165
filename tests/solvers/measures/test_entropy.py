"""The estimators against closed forms, plain NumPy formulas differentiated by complex step, and the rates of theory."""

import math
import tracemalloc

import numpy as np
import pytest
from scipy.integrate import quad, solve_ivp
from scipy.special import digamma
from scipy.stats import norm

from solvers.measures import entropy
from solvers.measures.entropy import BlobEntropy, SpacingEntropy, estimator, reference_bandwidth

EPS = np.finfo(float).eps


def quantiles(n):
    """Of the standard normal law at (i + ½)/n, (n, 1)."""
    return norm.ppf((np.arange(n) + 0.5) / n)[:, None]


def cloud(n, dimension, seed=0):
    """Particles, uneven weights, and a direction."""
    rng = np.random.default_rng(seed)
    weights = rng.uniform(0.2, 1.0, n)
    x, v = rng.standard_normal((2, n, dimension))
    return x, weights / weights.sum(), v


def spacing_gradient(x, p):
    """Of particles in increasing order, written out; x may be complex."""
    q = (p[:-1] + p[1:]) / (p[:-1] + p[1:]).sum()
    rho = np.concatenate([[0], q / np.diff(x[:, 0]), [0]])
    return ((rho[1:] - rho[:-1]) / p)[:, None]


def spacing_value(x, p):
    q = (p[:-1] + p[1:]) / (p[:-1] + p[1:]).sum()
    return np.sum(q * (np.log(q) - np.log(np.diff(x[:, 0]))))


def blob_pairs(x, p, width):
    z = x[:, None] - x[None]
    kernel = np.exp(-np.sum(z**2, axis=2) / (2 * width**2)) / (2 * np.pi * width**2) ** (
        x.shape[1] / 2
    )
    return z, kernel, kernel @ p


def blob_value(x, p, width):
    return np.sum(p * np.log(blob_pairs(x, p, width)[2]))


def blob_gradient(x, p, width):
    z, kernel, s = blob_pairs(x, p, width)
    pull = kernel * (1 / s[:, None] + 1 / s[None])
    return -np.einsum("ij,j,ijd->id", pull, p, z) / width**2


def complex_step(function, x, v):
    return np.imag(function(x + 1e-20j * v)) / 1e-20


CASES = {
    "spacings": (SpacingEntropy(), spacing_value, spacing_gradient, 1),
    "blob-1": (
        BlobEntropy(0.4),
        lambda x, p: blob_value(x, p, 0.4),
        lambda x, p: blob_gradient(x, p, 0.4),
        1,
    ),
    "blob-3": (
        BlobEntropy(0.7),
        lambda x, p: blob_value(x, p, 0.7),
        lambda x, p: blob_gradient(x, p, 0.7),
        3,
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_derivatives_of_the_plain_formula(case):
    """Only rounding differs: every quantity is a sum over n terms and, for the spacings, quotients by the gaps."""
    ent, value, gradient, dimension = case
    x, p, v = cloud(25, dimension)
    x = x[np.argsort(x[:, 0])]
    assert ent.value(x, p) == pytest.approx(value(x, p), rel=100 * EPS)
    assert np.sum(p[:, None] * ent.gradient(x, p) * v) == pytest.approx(
        complex_step(lambda y: value(y, p), x, v), rel=1e-11
    )
    for ours, exact in [
        (ent.gradient(x, p), gradient(x, p)),
        (ent.hvp(x, v, p), complex_step(lambda y: gradient(y, p), x, v)),
    ]:
        assert np.abs(ours - exact).max() < 1e-11 * np.abs(exact).max()


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_symmetries(case):
    """A function of the measure: the order of the particles, and a shift of all, change nothing; the Hessian is symmetric."""
    ent, _, _, dimension = case
    x, p, v = cloud(25, dimension)
    turn = np.random.default_rng(1).permutation(25)
    assert ent.value(x[turn], p[turn]) == pytest.approx(ent.value(x, p), rel=1e-13)
    for f in (ent.gradient, lambda x, p: ent.hvp(x, np.sin(x), p)):
        scale = np.abs(f(x, p)).max()
        assert np.abs(f(x[turn], p[turn]) - f(x, p)[turn]).max() < 1e-12 * scale
    # The shift costs the digits that it takes from the gaps.
    shift, gap = 1e3, np.diff(np.sort(x, axis=0), axis=0).min()
    assert ent.value(x + shift, p) == pytest.approx(ent.value(x, p), abs=10 * shift * EPS / gap)
    w = np.cos(3 * v)
    product = np.sum(p[:, None] * w * ent.hvp(x, v, p))
    assert product == pytest.approx(np.sum(p[:, None] * v * ent.hvp(x, w, p)), rel=1e-9)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_equal_weights_are_the_default_and_float32_stays(case):
    ent, _, _, dimension = case
    x, _, v = cloud(25, dimension)
    p = np.full(25, 1 / 25)
    assert ent.value(x) == ent.value(x, p)
    assert np.array_equal(ent.gradient(x), ent.gradient(x, p))
    assert np.array_equal(ent.hvp(x, v), ent.hvp(x, v, p))
    single = x.astype(np.float32)
    assert ent.gradient(single).dtype == ent.hvp(single, v).dtype == np.float32
    assert np.array_equal(ent.gradient(single), ent.gradient(single.astype(float)).astype("f4"))


def test_spacings_are_exact_for_a_step_function():
    """Masses (½ + ¼, ¼ + ¼)/(2 − ½ − ¼) = 0.6 and 0.4 on gaps of 1 and 2; jumps 0.6, −0.4 and −0.2 of the density."""
    x, p = np.array([[3.0], [0.0], [1.0]]), np.array([0.25, 0.5, 0.25])
    ent = SpacingEntropy()
    assert ent.value(x, p) == pytest.approx(0.6 * math.log(0.6) + 0.4 * math.log(0.2), rel=1e-15)
    assert np.allclose(ent.gradient(x, p)[:, 0], [-0.2 / 0.25, 0.6 / 0.5, -0.4 / 0.25], rtol=1e-14)
    # The uniform density on an interval of length 3, at its quantiles i/n.
    assert ent.value(np.linspace(2.0, 5.0, 12)[:, None]) == pytest.approx(-math.log(3), rel=1e-14)


def test_spacings_know_the_virial():
    """Σ p_i x_i · gradient_i = −1 for any particles, up to rounding of terms as large as the densities."""
    x, p, _ = cloud(200, 1)
    terms = p[:, None] * x * SpacingEntropy().gradient(x, p)
    assert abs(terms.sum() + 1.0) < 200 * EPS * np.abs(terms).sum()


def test_spacings_at_quantiles_of_a_smooth_density():
    """ρ = ⅔(1 + x) on [0, 1]: Ent_n − Ent = −(1/24n²) ∫ρ'²/ρ³ (1 + O(1/n²)) with n cells."""

    def density(x):
        return 2 / 3 * (1 + x)

    exact = quad(lambda x: density(x) * np.log(density(x)), 0, 1)[0]
    constant = -quad(lambda x: (2 / 3) ** 2 / density(x) ** 3, 0, 1)[0] / 24
    for n in (20, 40, 80):
        x = np.sqrt(1 + 3 * np.arange(n + 1) / n)[:, None] - 1
        scaled = (SpacingEntropy().value(x) - exact) * n**2
        assert scaled == pytest.approx(constant, rel=2 / n**2 * 10)


def test_spacings_at_gaussian_quantiles():
    """Ent → −½ log(2πe s²): the tails beyond the ends, of mass 1/2n and log ρ ≈ −log n each, leave log(n)/n; inside, the
    gradient is n/(n−1) ∇log ρ + O(n⁻²)."""
    ns, scale = np.array([50, 200, 800, 3200]), 2.0
    errors, inside = [], []
    for n in ns:
        x = scale * quantiles(n)
        errors.append(SpacingEntropy().value(x) + 0.5 * np.log(2 * np.pi * np.e * scale**2))
        middle = slice(n // 4, 3 * n // 4)
        gradient = (n - 1) / n * SpacingEntropy().gradient(x)
        inside.append(np.abs(gradient + x / scale**2)[middle].max())
    assert np.allclose(errors * ns / np.log(ns), 1.0, rtol=0, atol=0.06)
    assert np.polyfit(np.log(ns), np.log(inside), 1)[0] == pytest.approx(-2.0, abs=0.2)


def test_spacings_of_independent_draws():
    """The mean is above Ent by γ, for the uniform law by ψ(n + 1) + γ − log(n − 1) at every n."""
    rng = np.random.default_rng(0)
    n, draws = 40, 3000
    ent, free = SpacingEntropy(), SpacingEntropy(independent_draws=True)
    samples = rng.uniform(0, 3, (draws, n, 1))
    values = np.array([ent.value(x) for x in samples])
    error = values.std() / np.sqrt(draws)
    bias = digamma(n + 1) + np.euler_gamma - math.log(n - 1)
    assert abs(values.mean() + math.log(3) - bias) < 4 * error < 0.01
    assert free.value(samples[0]) == pytest.approx(values[0] - bias, rel=1e-13)
    # A Gaussian: γ + O(log(n)/n).
    n, draws = 4000, 60
    values = [ent.value(rng.standard_normal((n, 1))) for _ in range(draws)]
    excess = np.mean(values) + 0.5 * math.log(2 * np.pi * np.e)
    error = np.std(values) / np.sqrt(draws)
    assert abs(excess - np.euler_gamma) < 4 * error + math.log(n) / n


def test_spacings_of_coinciding_particles():
    x = np.array([[0.0], [1.0], [0.0], [2.0]])
    assert SpacingEntropy().value(x) == math.inf
    for derivative in (SpacingEntropy().gradient, lambda x: SpacingEntropy().hvp(x, x)):
        with pytest.raises(
            ValueError, match="x must have distinct particles, .*the entropy is infinite"
        ):
            derivative(x)


def test_the_gradient_flow_of_spacings_follows_ornstein_uhlenbeck():
    """x' = −x − T∇Ent: σ² = T + (σ0² − T)e^{−2t}, for every n up to the integrator's tolerance; and the particles are the
    Gaussian's quantiles up to the cut tails, O(log(n)/n), an effective slope of −1 + 1/log n to −1 in this range of n."""
    temperature, start, times = 0.5, 2.0, np.array([0.5, 1.0, 2.0])
    exact = temperature + (start**2 - temperature) * np.exp(-2 * times)
    ns, errors = [25, 50, 100, 200, 400], []

    def velocity(t, x):
        return -x - temperature * SpacingEntropy().gradient(x[:, None])[:, 0]

    for n in ns:
        z = quantiles(n)[:, 0]
        run = solve_ivp(
            velocity,
            (0, 2),
            start * z / z.std(),
            "LSODA",
            times,
            rtol=1e-10,
            atol=1e-12,
            lband=1,
            uband=1,
        )
        assert np.allclose(np.mean(run.y**2, axis=0), exact, rtol=1e-7)
        errors.append(np.sqrt(np.mean((run.y - np.outer(z, np.sqrt(exact))) ** 2, axis=0)))
    slopes = np.polyfit(np.log(ns), np.log(errors), 1)[0]
    assert np.all((slopes > -1.05) & (slopes < -1 + 1 / np.log(25)))


def gaussian_grid(scale, dimension, step=0.25):
    """A Gaussian of this standard deviation as weights on a regular grid. Sums over it are integrals to rounding: the error is
    exp(−2π²(τ/step)²), τ > 1.5 step being the width of the narrowest Gaussian in them, and beyond 9 s there is no mass."""
    axis = np.arange(-9 * scale, 9 * scale + step / 2, step)
    x = np.stack(np.meshgrid(*[axis] * dimension, indexing="ij"), axis=-1).reshape(-1, dimension)
    p = np.exp(-np.sum(x**2, axis=1) / (2 * scale**2))
    return x, p / p.sum()


@pytest.mark.parametrize("dimension", [1, 2])
def test_blob_of_a_gaussian(dimension):
    """log(φ * μ) = log N(0, v), v = s² + ε²; and φ * (μ/(φ * μ)) = c N(0, w) with w = τ² + ε², 1/τ² = 1/s² − 1/v."""
    s, width = 1.0, 0.8
    x, p = gaussian_grid(s, dimension)
    v = s**2 + width**2
    ent = BlobEntropy(width)
    exact = -0.5 * dimension * (math.log(2 * math.pi * v) + s**2 / v)
    assert ent.value(x, p) == pytest.approx(exact, rel=1e-12)
    tau2 = s**2 * v / width**2
    w = tau2 + width**2
    square = np.sum(x**2, axis=1, keepdims=True)
    bump = (v / s**2 * tau2 / w) ** (dimension / 2) * np.exp(-square / (2 * w))
    middle = np.sqrt(square[:, 0]) < 3 * s
    error = np.abs(ent.gradient(x, p) + x / v + x / w * bump)[middle]
    assert error.max() < 1e-11


def test_blob_converges_with_the_fourth_power_of_the_bandwidth():
    """Ent_ε − Ent = −(ε⁴/8) ∫(Δρ)²/ρ (1 + O(ε²)): −(r²/4)(1 − 4r/3 + 3r²/2 − …) for a Gaussian, with r = ε²/s²."""
    s, widths = 2.0, np.array([0.2, 0.28, 0.4])
    x, p = gaussian_grid(s, 1, step=0.125)
    exact = -0.5 * math.log(2 * math.pi * math.e * s**2)
    errors = np.array([BlobEntropy(width).value(x, p) - exact for width in widths])
    r = (widths / s) ** 2
    assert np.all(np.abs(errors / (-(r**2) / 4) - (1 - 4 * r / 3)) < 2 * r**2)
    assert np.polyfit(np.log(widths), np.log(-errors), 1)[0] == pytest.approx(4.0, abs=0.2)


def test_blob_of_independent_draws():
    """E[Ent_ε] − Ent_ε[ρ] = (1/N) [∫ρ φ(0)/ρ_ε − ½ − ½∫ρ (φ² * ρ)/ρ_ε²] + O(1/N²): φ(0) is each particle's own term, and the
    rest the scatter of s_i. The mean of log ρ_ε over the same draws takes most of the noise away."""
    width, rng = 0.5, np.random.default_rng(0)
    blurred = norm(scale=math.sqrt(1 + width**2))
    peak = 1 / math.sqrt(2 * math.pi * width**2)
    # φ² is a Gaussian of the variance ε²/2, times φ(0)/√2.
    squared = norm(scale=math.sqrt(1 + width**2 / 2))

    def integrand(x):
        own = peak / blurred.pdf(x)
        scatter = peak / math.sqrt(2) * squared.pdf(x) / blurred.pdf(x) ** 2
        return norm.pdf(x) * (own - 0.5 - 0.5 * scatter)

    constant = quad(integrand, -12, 12)[0]
    for n, draws in [(100, 400), (400, 200)]:
        samples = rng.standard_normal((draws, n, 1))
        excess = [BlobEntropy(width).value(x) - blurred.logpdf(x).mean() for x in samples]
        error = np.std(excess) / np.sqrt(draws)
        assert abs(np.mean(excess) - constant / n) < 4 * error + constant**2 / n**2


def test_blob_of_far_particles():
    """Each alone: s_i = p_i φ(0), no force; one without mass feels only the density of the others, however thin it is there."""
    ent = BlobEntropy(0.5)
    x, p = np.array([[0.0, 0.0], [1e8, 0.0], [0.0, -1e8]]), np.array([0.5, 0.25, 0.25])
    alone = p @ np.log(p) - math.log(2 * math.pi * 0.25)
    assert ent.value(x, p) == pytest.approx(alone, rel=1e-14)
    # The positions about their mean are rounded to 1e-8, and nothing is left but that.
    assert np.abs(ent.gradient(x, p)).max() < 1e-6
    x = np.array([[0.0], [100.0], [100.0], [1.0]])
    gradient = ent.gradient(x, np.array([1.0, 0.0, 0.0, 0.0]))[:, 0]
    assert np.allclose(gradient, [0.0, -400.0, -400.0, -4 * (1 + math.exp(-2))], rtol=1e-14)
    assert ent.value(x, [1.0, 0.0, 0.0, 0.0]) == pytest.approx(-0.5 * math.log(0.5 * math.pi))


def test_blob_in_blocks(monkeypatch):
    x, p, v = cloud(100, 3)
    ent = BlobEntropy(0.7)
    whole = ent.value(x, p), ent.gradient(x, p), ent.hvp(x, v, p)
    monkeypatch.setattr(entropy, "_BLOCK", 730)  # 7 rows a block, the last of 2
    assert ent.value(x, p) == pytest.approx(whole[0], rel=1e-14)
    for part, exact in [(ent.gradient(x, p), whole[1]), (ent.hvp(x, v, p), whole[2])]:
        assert np.allclose(part, exact, rtol=0, atol=1e-13 * np.abs(exact).max())


@pytest.mark.parametrize("massless", [0, 3])
def test_blob_memory_is_bounded(massless):
    """Five blocks of 2 MiB, and some arrays of the size of x; all pairs would be 72 MiB an array."""
    x, p, v = cloud(3000, 2)
    p[:massless] = 0.0
    p /= p.sum()
    for run in (BlobEntropy(0.5).gradient, lambda x, p: BlobEntropy(0.5).hvp(x, v, p)):
        tracemalloc.start()
        run(x, p)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 5 * 2**21 + 20 * x.nbytes


def test_estimator_goes_by_the_dimension():
    x, p, _ = cloud(50, 3)
    assert estimator(x[:, :1]) == SpacingEntropy()
    assert estimator(x[:, :1], 0.3) == BlobEntropy(0.3)
    assert estimator(x, 0.3) == BlobEntropy(0.3)
    assert estimator(x) == BlobEntropy(reference_bandwidth(x))
    spread = math.sqrt(np.mean(np.var(x, axis=0)))
    assert reference_bandwidth(x + 5) == pytest.approx(
        spread * (4 / (5 * 50)) ** (1 / 7), rel=1e-12
    )
    # A particle of weight 2p is two of weight p, except that there are fewer.
    assert reference_bandwidth(x, p) == pytest.approx(
        math.sqrt(np.average((x - p @ x) ** 2, axis=0, weights=p).mean())
        * (4 * (p @ p) / 5) ** (1 / 7),
        rel=1e-12,
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: BlobEntropy(0.0), "bandwidth must be .*got 0.0"),
        (lambda: BlobEntropy(math.inf), "bandwidth must be .*got inf"),
        (lambda: BlobEntropy(None), "bandwidth must be .*got None"),
        (lambda: BlobEntropy(1.0).value(np.ones(3)), r"x must have shape \(N, D\).*got \(3,\)"),
        (lambda: BlobEntropy(1.0).value(np.ones((0, 3))), r"x must have shape .*got \(0, 3\)"),
        (lambda: BlobEntropy(1.0).value([[np.nan]]), "x must be finite"),
        (
            lambda: BlobEntropy(1.0).value([[1.0]], [[1.0]]),
            r"weights must have shape \(1,\), got \(1, 1\)",
        ),
        (
            lambda: BlobEntropy(1.0).value([[1.0], [2.0]], [1.5, -0.5]),
            "weights must be at least 0 and sum to 1",
        ),
        (
            lambda: BlobEntropy(1.0).value([[1.0], [2.0]], [0.5, 0.6]),
            "weights must be at least 0 and sum to 1",
        ),
        (lambda: BlobEntropy(1.0).hvp([[1.0]], [1.0]), r"v must have shape \(1, 1\).*got \(1,\)"),
        (
            lambda: SpacingEntropy().value([[1.0]]),
            r"x must have shape \(N, 1\) with N ≥ 2, got \(1, 1\)",
        ),
        (
            lambda: SpacingEntropy().value(np.ones((3, 2))),
            r"x must have shape \(N, 1\).*got \(3, 2\)",
        ),
        (
            lambda: SpacingEntropy().value([[1.0], [2.0]], [1.0, 0.0]),
            "weights must be above 0, got 1 that are 0; leave out particles without mass",
        ),
        (lambda: reference_bandwidth(np.ones((4, 2))), "x must have distinct particles"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
