"""Fits the polynomials behind the vector exp, erf, tanh and coarse GELU of `crates/compute/src/simd/functions.rs`.

    python reference/fit_functions.py        (needs numpy and mpmath)

Each fit minimises the largest relative error on its interval: a weighted
least-squares problem is solved again and again, with weights raised where the
error is large (Lawson's algorithm); a rational fit is made linear by dividing
by the denominator of the round before (Sanathanan and Koerner, 1963). The
coefficients are printed as nearest singles, lowest power first, with the error
of the rounded coefficients evaluated in double precision. That of GELU is the
largest absolute one instead.
"""

import mpmath
import numpy as np


def fit(function, low, high, numerator, denominator, points=4001, rounds=400):
    """Coefficients p, q of `function(t) ~ P(t) / Q(t)`, q[0] = 1, on [low, high]."""
    angle = np.pi * (np.arange(points) + 0.5) / points
    t = (low + high) / 2 - (high - low) / 2 * np.cos(angle)
    f = np.array([float(function(mpmath.mpf(float(v)))) for v in t])
    weight, q = np.ones(points), np.ones(points)
    best = (np.inf, None, None)
    for _ in range(rounds):
        rows = np.concatenate([t[:, None] ** np.arange(numerator + 1),
                               -f[:, None] * t[:, None] ** np.arange(1, denominator + 1)], axis=1)
        scale = np.sqrt(weight) / (np.abs(f) * np.abs(q))
        norm = np.abs(rows * scale[:, None]).max(axis=0)
        x = np.linalg.lstsq(rows * scale[:, None] / norm, f * scale, rcond=None)[0] / norm
        p_c, q_c = x[:numerator + 1], np.concatenate([[1.0], x[numerator + 1:]])
        q = np.polyval(q_c[::-1], t)
        error = np.abs(np.polyval(p_c[::-1], t) / q - f) / np.abs(f)
        if error.max() < best[0]:
            best = (error.max(), p_c, q_c)
        weight = weight * (error / error.max() + 1e-3)
        weight /= weight.mean()
    _, p_c, q_c = best
    p_c, q_c = p_c.astype(np.float32), q_c.astype(np.float32)
    value = np.polyval(p_c[::-1].astype(float), t) / np.polyval(q_c[::-1].astype(float), t)
    return p_c, q_c, np.abs(value - f).max(), (np.abs(value - f) / np.abs(f)).max()


def fit_gelu(end, degree, points=2001, rounds=4000):
    """Coefficients of P in `x (1/2 + x P(x²)) ~ x Φ(x)`, `end · P(end²) = 1/2`, and the largest absolute error."""
    x = end * (1 - np.cos(np.linspace(0, np.pi, points)[1:])) / 2
    u = (x / end) ** 2
    below = np.array([float(mpmath.ncdf(v)) for v in x])
    # P = 1/2/end + (1 - u) S(u): whatever S is, it is right at the end.
    rows = (x ** 2 * (1 - u))[:, None] * u[:, None] ** np.arange(degree)
    wanted = x * (below - 0.5) - x ** 2 / (2 * end)
    weight = np.ones(len(x))
    for _ in range(rounds):
        scale = np.sqrt(weight)
        s = np.linalg.lstsq(rows * scale[:, None], wanted * scale, rcond=None)[0]
        weight = np.maximum(weight * np.abs(rows @ s - wanted), 1e-14)
        weight /= weight.sum()
    in_u = np.append(s, 0) - np.append(0, s)
    in_u[0] += 1 / (2 * end)
    p = (in_u / end ** (2 * np.arange(degree + 1))).astype(np.float32)
    value = x * (0.5 + x * np.polyval(p[::-1].astype(float), x ** 2))
    return p, np.abs(value - x * below).max()


def show(name, result):
    p, q, absolute, relative = result
    print(f"{name}: largest relative error {relative:.2e}")
    print("  numerator  ", ", ".join(f"{v:.9e}" for v in p))
    if len(q) > 1:
        print("  denominator", ", ".join(f"{v:.9e}" for v in q))


def odd(function):
    """`function(x) / x` as a function of `t = x²`."""
    def ratio(t):
        x = mpmath.sqrt(t)
        return function(x) / x
    return ratio


if __name__ == "__main__":
    mpmath.mp.dps = 40
    half = float(mpmath.log(2) / 2) * 1.0001
    show("exp(r) on |r| <= ln 2 / 2", fit(mpmath.exp, -half, half, 6, 0))
    # 1 - erf(3.92) is below half a unit in the last place of 1.
    show("erf(x) / x by t = x^2, |x| <= 3.92", fit(odd(mpmath.erf), 1e-9, 3.92 ** 2, 5, 5))
    # 1 - tanh(9.02) likewise.
    show("tanh(x) / x by t = x^2, |x| <= 9.02", fit(odd(mpmath.tanh), 1e-9, 9.02 ** 2, 5, 4))
    # Beyond 4.2, x and 0 are as near as that.
    p, error = fit_gelu(4.2, 7)
    print(f"GELU, P by t = x^2, |x| <= 4.2: largest absolute error {error:.2e}")
    print("  numerator  ", ", ".join(f"{v:.9e}" for v in p))
