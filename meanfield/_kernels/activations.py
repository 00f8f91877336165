"""Activations and their first three derivatives, written so that LLVM turns loops over them into vector code.

No call of the C library, no branch, one division where possible. ``jet(name, real)`` gives z → (σ, σ', σ'', σ‴) for one
precision; what a caller does not use is not computed. Errors, in units in the last place (ulp) of the exact value unless
stated otherwise, follow from the number of roundings after the last cancellation; the tests measure them against mpmath:

- tanh, sigmoid, softplus: e^{2y} = 2^k e^{2ρ} with |ρ| ≤ ln 2 / 4, tanh ρ = A/B rational of error below 2^-57 (2^-30 in
  float32), so e^{2y} = 2^k (B + A)/(B − A), and no difference loses more than a factor 2: 4 ulp.
  log(1 + e) = 2 artanh(e / (2 + e)).
- tanh in float32: (T + tanh ρ)/(1 + T tanh ρ), T = (2^k − 1)/(2^k + 1), tanh ρ a polynomial of error 2^-24: 3 ulp.
- erf, gelu: erfc(y) = e^{−y²} P(q)/(1 + 2y), q = (y − 4)/(y + 4), y² in two parts; near 0 erf(x) = x P(x²): 4 ulp for erf,
  8 for gelu.
- sin: π/2 in four parts whose products with k are exact: 2 ulp of 1, for |z| up to ``sine_limit``; the C library's beyond.

Derivatives follow from these by a few multiplications; their error is a few roundings of numbers of size at most 1 + |z|.
Values whose exact size is below the smallest normal number may be flushed to 0. NaN gives NaN; infinities give the limits.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .coefficients import EXPONENT_LIMIT, HALF_DIGITS, HALF_PI, LN2, POLYNOMIALS, Real
from .jit import array_at, bits_as, callback, inlined, named, part, wide_vectors

Function = Callable[..., Any]
_INTEGER: dict[Any, Any] = {np.float64: np.int64, np.float32: np.int32}  # of as many bits
FORMULAS: dict[str, Callable[[Real], Function]] = {}  # of all `meanfield.activations.ACTIVATIONS`


def formula(build: Callable[[Real], Function]) -> Callable[[Real], Function]:
    """Enter a function, called ``_<activation>``, that gives z → (σ, σ', σ'', σ‴) for one precision."""
    FORMULAS[build.__name__.removeprefix("_")] = build
    return build


def sine_limit(real: Any) -> float:
    """The largest |z| for which this sine is accurate: k ≤ 2^20 or 2^13 quarter turns."""
    return 1.6e6 if real is np.float64 else 1.2e4


@functools.cache
def jet(name: str, real: Any, far: bool = False) -> Function:
    """An inlined function z → (σ, σ', σ'', σ‴). `far` asks for the sine that is accurate beyond ``sine_limit``, and slow."""
    if name == "sin" and far:
        return _library_sine(real)
    return FORMULAS[name](real)


@functools.cache
def jets(name: str, real: Any, count: int, of_value: bool = False) -> Any:
    """What ``call_at`` takes, with (data, stride, size), for σ and its derivatives up to the (count − 1)-th.

    The data are rows of length `stride`; of z in the first `size` entries of the first, the j-th gets σ^(j). With `of_value`,
    for the activations in ``BY_VALUE``, σ(z) is there in place of z.
    """
    which = f"{name}_{real.__name__}_{count}{'_of_value' if of_value else ''}"
    near = _loop(BY_VALUE[name](real) if of_value else jet(name, real), count, f"near_{which}")
    fill = _checked(near, real, count, which) if name == "sin" else near

    @callback(f"jets_{which}", 3)
    def fill_at(data, stride, size):
        fill(array_at(data, (count, stride), real), size)

    return fill_at


def _checked(near: Function, real: Any, count: int, which: str) -> Function:
    """The loop `near` where every sine is accurate by it."""
    far = _loop(jet("sin", real, far=True), count, f"far_{which}")
    limit = real(sine_limit(real))

    @part
    @named(f"fill_{which}")
    def fill(rows, size):
        wide_vectors()
        beyond = 0
        for i in range(size):
            beyond += abs(rows[0, i]) > limit
        if beyond == 0:
            near(rows, size)
        else:
            far(rows, size)

    return fill


def _loop(sigma: Function, count: int, name: str) -> Function:
    @part
    @named(name)
    def loop(rows, size):
        wide_vectors()
        for i in range(size):
            h, s1, s2, s3 = sigma(rows[0, i])
            rows[0, i] = h
            if count > 1:
                rows[1, i] = s1
            if count > 2:
                rows[2, i] = s2
            if count > 3:
                rows[3, i] = s3

    return loop


@functools.cache
def _polynomial(name: str, real: Any) -> Function:
    """A polynomial as nested multiply-adds, written out: a loop over coefficients would not vectorise."""
    coefficients: Sequence[float] = POLYNOMIALS[name][real]
    constants = {f"c{i}": real(c) for i, c in enumerate(coefficients)}
    expression = f"c{len(constants) - 1}"
    for i in reversed(range(len(constants) - 1)):
        expression = f"({expression}) * x + c{i}"
    polynomial = eval(f"lambda x: {expression}", constants)
    return inlined(named(f"polynomial_{name}_{real.__name__}")(polynomial))


@functools.cache
def _powers(real: Any) -> tuple[Function, Any]:
    """(t → 2^k, M) for t = x + M, whose last bits hold k = round(x)."""
    integer: Any = _INTEGER[real]
    digits = 52 if real is np.float64 else 23
    shift = integer(digits)
    exponent_of_one = integer((1023 if real is np.float64 else 127) << digits)

    @inlined
    def two_to(t):
        return bits_as(real, (bits_as(integer, t) << shift) + exponent_of_one)

    return two_to, real(1.5 * 2.0**digits)


@formula
def _tanh(real: Any) -> Function:
    value, jet_of = _tanh_double() if real is np.float64 else _tanh_single(), _tanh_by_value(real)

    @inlined
    def tanh(z):
        return jet_of(value(z))

    return tanh


@functools.cache
def _tanh_by_value(real: Any) -> Function:
    one, two, six = real(1), real(2), real(6)

    @inlined
    def jet_of(t):
        slope = one - t * t
        return t, slope, -two * t * slope, slope * (six * t * t - two)

    return jet_of


#: σ(z) → (σ, σ', σ'', σ‴), the same numbers, of the activations where that takes less time
BY_VALUE: dict[str, Callable[..., Function]] = {"tanh": _tanh_by_value}


def _tanh_double() -> Function:
    """e^{2y} = 1 + n/g gives tanh y = n/(n + 2g)."""
    numerator = _polynomial("tanh_numerator", np.float64)
    denominator = _polynomial("tanh_denominator", np.float64)
    two_to, magic = _powers(np.float64)
    per_unit, half_ln2 = 2 / math.log(2), math.log(2) / 2
    limit = 20.0  # beyond, tanh is 1 to the last digit

    @inlined
    def value(z):
        y = abs(z)
        y = limit if limit < y else y
        t = y * per_unit + magic
        rest = y - (t - magic) * half_ln2
        scale = two_to(t)
        square = rest * rest
        a, b = rest * numerator(square), denominator(square)
        n = b * (scale - 1.0) + a * (scale + 1.0)
        return math.copysign(n / (n + 2.0 * (b - a)), z)

    return value


def _tanh_single() -> Function:
    """The addition theorem for k ln 2 / 2 and ρ; at most 1, as every operation after tanh ρ is monotone."""
    real = np.float32
    quotient = _polynomial("tanh", real)
    _, magic = _powers(real)
    # The last bits of t hold k plus the bias of exponents: shifted, they are those of 2^k.
    integer, biased, digits = np.int32, real(magic + 127), np.int32(23)
    per_unit, half_ln2 = real(2 / math.log(2)), real(math.log(2) / 2)
    limit, one = real(10), real(1)

    @inlined
    def value(z):
        y = abs(z)
        y = limit if limit < y else y
        t = y * per_unit + biased
        rest = y - (t - biased) * half_ln2
        scale = bits_as(real, bits_as(integer, t) << digits)
        a = rest * quotient(rest * rest)
        low, high = scale - one, scale + one
        return math.copysign((a * high + low) / (a * low + high), z)

    return value


@functools.cache
def _decay(real: Any) -> Function:
    """x → (n, g), e^{−|x|} = n/g, g > 0."""
    numerator = _polynomial("tanh_numerator", real)
    denominator = _polynomial("tanh_denominator", real)
    two_to, magic = _powers(real)
    per_unit, limit = real(2 / math.log(2)), real(EXPONENT_LIMIT[real])
    high, low = real(LN2[real][0] / 2), real(LN2[real][1] / 2)
    half, zero = real(0.5), real(0)

    @inlined
    def decay(x):
        size = abs(x)
        y = -half * (limit if limit < size else size)
        t = y * per_unit + magic
        k = t - magic
        rest = (y - k * high) - k * low
        square = rest * rest
        a, b = rest * numerator(square), denominator(square)
        return (zero if limit < size else two_to(t) * (b + a)), b - a

    return decay


@formula
def _sigmoid(real: Any) -> Function:
    decay = _decay(real)
    zero, one, two, six = real(0), real(1), real(2), real(6)

    @inlined
    def sigmoid(z):
        n, g = decay(z)
        small = n / (n + g)
        s = small if z < zero else one - small
        slope = small * (one - small)
        return s, slope, slope * (one - two * s), slope * (one - six * slope)

    return sigmoid


@formula
def _softplus(real: Any) -> Function:
    decay, artanh = _decay(real), _polynomial("artanh", real)
    zero, one, two = real(0), real(1), real(2)

    @inlined
    def softplus(z):
        n, g = decay(z)
        small = n / (n + g)
        s = small if z < zero else one - small
        slope = small * (one - small)
        w = n / (two * g + n)
        value = (zero if z < zero else z) + two * w * artanh(w * w)
        return value, s, slope, slope * (one - two * s)

    return softplus


@formula
def _relu(real: Any) -> Function:
    zero, one = real(0), real(1)

    @inlined
    def relu(z):
        slope = one if z > zero else zero if z <= zero else z  # NaN for NaN
        return (zero if z < zero else z), slope, zero * slope, zero * slope

    return relu


@functools.cache
def _gauss(real: Any, half: bool) -> Function:
    """x → (e^{−y²}, e^{y²} erfc(y)), y = x or, if half, x / √2; for x ≥ 0. e^{−y²} feels y² errors, hence x in two parts."""
    exp, scaled_erfc = _polynomial("exp", real), _polynomial("erfc", real)
    two_to, magic = _powers(real)
    integer: Any = _INTEGER[real]
    mask = integer(HALF_DIGITS[real])
    factor, root = real(0.5 if half else 1.0), real(math.sqrt(0.5) if half else 1.0)
    per_unit, limit = real(1 / math.log(2)), real(math.sqrt(EXPONENT_LIMIT[real]) / root)
    ln2_high, ln2_low = real(LN2[real][0]), real(LN2[real][1])
    zero, one, two, four = real(0), real(1), real(2), real(4)

    @inlined
    @named(f"gauss_{half}")
    def gauss(x):
        inside = limit if limit < x else x
        high = bits_as(real, bits_as(integer, inside) & mask)
        square = factor * high * high  # exact
        t = magic - square * per_unit
        k = t - magic
        rest = (-square - k * ln2_high) - k * ln2_low - factor * (inside - high) * (inside + high)
        density = zero if limit < x else two_to(t) * exp(rest)
        y = inside * root
        slope = one + two * y
        inverse = one / ((y + four) * slope)
        q = (y - four) * slope * inverse
        return density, scaled_erfc(q) * (y + four) * inverse

    return gauss


@formula
def _erf(real: Any) -> Function:
    gauss, near_zero = _gauss(real, half=False), _polynomial("erf", real)
    half, one, two, four = real(0.5), real(1), real(2), real(4)
    factor, cap = real(2 / math.sqrt(math.pi)), real(30)

    @inlined
    def erf(z):
        y = abs(z)
        density, tail = gauss(y)
        x = math.copysign(
            cap if cap < y else y, z
        )  # derivatives vanish beyond, and ∞·0 would be NaN
        value = x * near_zero(x * x) if y < half else math.copysign(one - density * tail, z)
        slope = factor * density
        return value, slope, -two * x * slope, slope * (four * x * x - two)

    return erf


@formula
def _gelu(real: Any) -> Function:
    gauss, near_zero = _gauss(real, half=True), _polynomial("erf", real)
    zero, half, one, two, four = real(0), real(0.5), real(1), real(2), real(4)
    inverse_root_two, factor, cap = real(math.sqrt(0.5)), real(1 / math.sqrt(2 * math.pi)), real(40)

    @inlined
    def gelu(z):
        y = abs(z)
        density, tail = gauss(y)
        x = math.copysign(cap if cap < y else y, z)  # beyond, every term with the density vanishes
        upper = half * density * tail
        far = upper if z < zero else one - upper
        s = x * inverse_root_two
        cdf = half + half * s * near_zero(s * s) if abs(s) < half else far
        pdf = factor * density
        value = (x if z < zero else z) * cdf
        return value, cdf + x * pdf, pdf * (two - x * x), pdf * x * (x * x - four)

    return gelu


@formula
def _sin(real: Any) -> Function:
    sine, cosine = _polynomial("sin", real), _polynomial("cos", real)
    _, magic = _powers(real)
    per_unit = real(2 / math.pi)
    p0, p1, p2, p3 = (real(p) for p in HALF_PI[real])
    integer: Any = _INTEGER[real]
    one, two, sign_shift = integer(1), integer(2), integer(62 if real is np.float64 else 30)

    @inlined
    def sin(z):
        t = z * per_unit + magic
        k = t - magic
        r = (((z - k * p0) - k * p1) - k * p2) - k * p3
        square = r * r
        a, b = r * sine(square), cosine(square)
        quarter = bits_as(integer, t)
        odd = (quarter & one) != 0
        s, c = (b if odd else a), (a if odd else b)
        # Bit 1 of the quarter is the sign of the sine, that of the next quarter the cosine's.
        s = bits_as(real, bits_as(integer, s) ^ ((quarter & two) << sign_shift))
        c = bits_as(real, bits_as(integer, c) ^ (((quarter + one) & two) << sign_shift))
        return s, c, -s, -c

    return sin


def _library_sine(real: Any) -> Function:
    @inlined
    @named("library_sin")
    def sin(z):
        s, c = real(math.sin(z)), real(math.cos(z))
        return s, c, -s, -c

    return sin


@formula
def _quadratic(real: Any) -> Function:
    zero, two = real(0), real(2)

    @inlined
    def quadratic(z):
        return z * z, two * z, two, zero

    return quadratic
